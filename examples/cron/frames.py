"""Sentence frames, tasks, and nouns for the training phrasings."""

from __future__ import annotations

from random import Random

# {w} is the whole schedule, frequency and time in either order. {F} and {T} place them one by one.
FRAMES = (
    "{w}", "{w}", "{w}", "{w}.", "{w} please", "please, {w}", "run {w}", "Run {w}.", "run it {w}",
    "run this {w}", "execute {w}", "trigger {w}", "fire {w}", "start {w}", "cron for {w}", "cron: {w}",
    "crontab entry for {w}", "schedule: {w}", "schedule it {w}", "Schedule this job {w}.",
    "schedule a job {w}", "job: {w}", "when: {w}", "what is the cron expression for {w}?",
    "What's the cron line for {w}?", "cron line, {w}", "the expression for {w}",
    "how do I write {w} in cron?", "How would I say {w} in cron syntax?", "which cron expression means {w}?",
    "I need {w}", "I need something that runs {w}", "I want it to run {w}", "it should run {w}",
    "make it run {w}", "It has to start {w}.", "could you set it to {w}?", "set it up {w}", "set a timer {w}",
    "it must happen {w}", "we want this {w}", "let it run {w}", "have it run {w}", "this should fire {w}",
    "set up a job that fires {w}", "convert to cron: {w}", "translate: {w}", "{w}, as cron", "{w} in cron",
    "give me the cron for {w}", "{F} - {T}", "{F}: {T}", "{T} / {F}", "{F}, {T}", "{T}, {F}",
    "time: {T}, days: {F}", "({F}) {T}", "frequency: {F}; time: {T}", "{F} and the time is {t}",
    "{F}. Time: {t}.", "{F}, time {t}", "{t} {F}", "{F} {t}", "{t}, {F}", "run {F}, and do it {T}",
    "do this {F}; start {T}", "it runs {F} and it starts {T}",
)  # fmt: skip

TASK_FRAMES = (
    "{task} {w}", "{task} {w}.", "please {task} {w}", "{w} {task}", "{w}, {task}", "{F} {task} {T}",
    "{F}, {task} {T}", "{T} {F}, please {task}", "can you {task} {w}?", "could you please {task} {w}?",
    "I want to {task} {w}", "I'd like to {task} {w}", "we need to {task} {w}", "we should {task} {w}",
    "remind me {w} to {task}", "remind us to {task} {w}", "don't forget to {task} {w}", "job to {task} {w}",
    "{T}, {task}, {F}", "{task}: {w}", "a cron job to {task} {w}", "set up a cron that will {task} {w}",
    "would you {task} {w}, please?", "TODO: {task} {w}", "it is time to {task} {w}",
    "the job must {task} {w}", "our script has to {task} {w}", "the server will {task} {w}",
    "let's {task} {w}", "{task} ({w})", "{task} - {F} - {T}", "somebody has to {task} {w}",
    "we usually {task} {w}", "I always {task} {w}", "when should it run? {task} {w}", "{task}, {F}, {T}",
    "{F} we {task} {T}", "make sure to {task} {w}", "have the system {task} {w}", "help me {task} {w}",
    "the plan is to {task} {w}", "my job: {task} {w}", "{w} I have to {task}", "{w} it is time to {task}",
    "{w} the robot should {task}",
)  # fmt: skip

NOUN_FRAMES = (
    "{noun} {w}", "{noun}: {w}", "{noun}, {w}", "the {noun} runs {w}", "the {noun} should run {w}",
    "start the {noun} {w}", "the {noun} is due {w}", "The {noun} has to begin {w}.", "we have the {noun} {w}",
    "schedule the {noun} {w}", "when does the {noun} run? {w}", "cron for the {noun}: {w}", "{w}: {noun}",
    "{w} - {noun}", "{F} the {noun} {T}", "{F} {noun} {T}", "the {noun} happens {w}",
    "the {noun} takes place {w}", "{noun} ({w})", "{noun} | {F} | {T}", "I want the {noun} {w}",
    "put the {noun} on {F} {T}", "our {noun} starts {w}", "the {noun} must be launched {w}",
    "please schedule my {noun} {w}", "the {noun} will go live {w}", "{F} there is the {noun}, it begins {T}",
)  # fmt: skip

TASKS = (
    "run the backup", "send the report", "water the garden", "check the disk", "rotate the logs",
    "clean the cache", "call the office", "restart the server", "sync the files", "feed the fish",
    "back up the database", "mail the invoices", "update the prices", "rebuild the index", "print the labels",
    "take the medicine", "walk the dog", "open the gate", "close the valve", "order milk",
    "renew the certificates", "purge old sessions", "archive the tickets", "post the menu",
    "measure the temperature", "charge the robot", "export the orders", "import the rates",
    "scan for viruses", "publish the podcast", "empty the trash", "warm up the oven", "refresh the dashboard",
    "compress the images", "test the alarm", "turn on the lights", "turn off the heating", "copy the photos",
    "count the stock", "pull the latest code", "start the pump", "stop the fan", "download the weather data",
    "pay the bills", "vacuum the floor", "ring the school bell", "send a greeting", "write the summary",
    "reboot the router", "tweet the news", "message the team", "generate the statistics", "flush the queue",
    "verify the backups", "train the model", "clear the temp folder", "save the game", "read the meter",
    "email the customers", "play the jingle",
)  # fmt: skip
NOUNS = (
    "backup", "weekly report", "stand-up", "cleanup", "payroll", "newsletter", "database dump",
    "health check", "team meeting", "yoga class", "log rotation", "data import", "price update", "inventory",
    "virus scan", "system update", "reminder", "sprinkler", "church bell", "batch job", "digest", "export",
    "audit", "lunch break", "piano lesson", "garbage pickup", "status mail", "sync", "maintenance",
    "coffee order", "report", "script", "alarm clock", "index rebuild", "billing run", "call with the client",
    "fire drill", "book club", "training", "webinar",
)  # fmt: skip

# A sentence about something that happens anyway; the schedule is when it happens.
LIFE_FRAMES = (
    "my train leaves {w}", "the bakery opens {w}", "the news is on {w}", "our team meets {w}",
    "the bus departs {w}", "class begins {w}", "the show airs {w}", "the museum closes {w}",
    "the market starts {w}", "the baby gets milk {w}", "dinner is served {w}",
    "the night shift takes over {w}", "mass is celebrated {w}", "the ferry sails {w}",
    "grandpa goes for a walk {w}", "I go jogging {w}", "we play tennis {w}", "she phones her mother {w}",
    "the kids go to bed {w}", "the fountain is switched on {w}", "the guard makes his round {w}",
    "the tank is refilled {w}", "the factory whistle blows {w}", "he takes his vitamins {w}",
    "a truck arrives {w}", "the lab opens its doors {w}", "the cleaning crew shows up {w}",
    "the radio plays the anthem {w}", "I study French {w}", "the choir rehearses {w}",
    "the pool gets chlorine {w}", "the stock exchange sends us a file {w}", "the sensor must be sampled {w}",
    "our supplier publishes prices {w}", "the gym fills up {w}, so open the windows then",
    "I call my sister {w}", "the postman passes {w}", "the heating comes on {w}",
    "the lottery numbers come out {w}", "a courier picks up parcels {w}", "the lights in the hall go out {w}",
    "I have therapy {w}",
)  # fmt: skip

# Talk around the schedule.
CHAT_FRAMES = (
    "hey, {w}, can you do that?", "so {w}, ok?", "hi there! {w} please", "hello, I was thinking of {w}",
    "well, {w} sounds good", "the boss says {w}", "my colleague asked for {w}", "fyi it now runs {w}",
    "btw the new slot is {w}", "ok so {w} it is", "as discussed: {w}", "according to the docs it fires {w}",
    "the customer wants it {w}", "according to the contract, {w}", "as far as I know it's {w}",
    "the old line was wrong, it is {w}", "we agreed on {w}", "can we have {w}?", "is {w} possible?",
    "would {w} work?", "not sure how to write this: {w}", "I forgot the syntax for {w}",
    "new here, how is {w} written?", "quick question, {w} as cron?", "help! {w}?", "need cron, {w}",
    "urgent: {w}", "note to self: {w}", "reminder: {w}", "idea: {w}", "rule: {w}", "trigger = {w}",
    "when = {w}", "schedule -> {w}", "[{w}]", '"{w}"', "* {w}", "1) {w}", "- {w}", "{w} (server time)",
    "{w} local time", "{w}, that's all", "{w}, nothing else", "{w}, got it?", "{w}, if you can",
    "{w}. Which line do I put in the crontab?", "{w} <- cron?", "{w} => ?", "{w} = ?", "{w} ... how?",
    "{w}, right?", "for my home server: {w}", "on the Raspberry Pi: {w}", "in our data center, {w}",
    "kubernetes cronjob, {w}", "github action, {w}", "jenkins: {w}", "it's for a school project, {w}",
    "for the intern: {w}", "in plain words: {w}", "simple one: {w}",
)  # fmt: skip

# Frequency and time in separate clauses or sentences.
STORY_FRAMES = (
    "I get up {F}. The alarm goes {T}.", "We work on this {F}. Begin {T}.", "Days: {F}. Hour: {T}.",
    "It runs {F}. It starts {T}.", "The job is planned {F}, the exact time being {t}.", "{F} only. {T}.",
    "{T} only {F}", "{T}, but only {F}", "{F} and only then, {T}", "{F}, not otherwise, {T}",
    "The clock says {t}. If the job is due ({F}), run it.", "My choice is {F}, and I prefer {t}.",
    "What: {noun}. When: {F}, {T}.", "The {noun} is there {F}; the time never changes, it is {t}.",
    "{noun}; {F}; {T}", "Every run is {T}. It runs {F}.",
    "Our users expect the {noun} {F}. They expect it {T}.", "start {T}, repeat {F}",
    "begin {T} and repeat that {F}", "{T} is when I {task}, {F}", "We {task} {F}. We do it {T}.",
    "{task}. {F}. {T}.", "I {task} {F}, usually {T}", "{t}: {task} ({F})", "{F}; {t}; {task}", "{t} | {F}",
    "{F} | {t} | {task}", "{F} -> {t}", "the hour is {t} and the days are {F}", "days = {F}, time = {t}",
    "{{days: {F}, time: {t}}}", "{F}. {t}.", "{t}. {F}.", "{t} - {F} - {noun}", "The {noun}? {F}, {T}.",
    "{F}? Yes. {t}? Yes.", "Only one thing to do {F}: {task} {T}", "it rings {F}, and it rings {T}",
    "set the time to {t} and the days to {F}", "{T} for the {noun}, {F}",
)  # fmt: skip

GROUPS = (
    (FRAMES, 68),
    (TASK_FRAMES, 11),
    (NOUN_FRAMES, 9),
    (LIFE_FRAMES, 3),
    (CHAT_FRAMES, 5),
    (STORY_FRAMES, 4),
)


def frame(rng: Random, parted: bool = True) -> str:
    """A frame; `parted` allows those that place frequency and time one by one."""
    group = rng.choices([group for group, _ in GROUPS], [weight for _, weight in GROUPS])[0]
    usable = [text for text in group if parted or not ("{F}" in text or "{T}" in text or "{t}" in text)]
    return rng.choice(usable or FRAMES[:4])


def whole_frame(phrase: str, rng: Random) -> str:
    """A phrase that says the whole schedule, in a frame."""
    return frame(rng, parted=False).format(w=phrase, task=rng.choice(TASKS), noun=rng.choice(NOUNS))
