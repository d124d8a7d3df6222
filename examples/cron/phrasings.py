"""The phrasing families for training: a frame, a frequency, a time of day, and a task, freely combined."""

from __future__ import annotations

from random import Random

import slots
from schedules import Schedule

# How often, for the kinds that fire at times of day. Each entry can stand before or after the time.
FREQUENCIES: dict[str, tuple[str, ...]] = {
    "daily": (
        "every day", "each day", "daily", "once a day", "all days of the week", "every day of the week",
        "on every day", "every single day", "once every day", "on a daily basis", "day after day",
        "Monday through Sunday", "on all seven days of the week", "seven days out of seven", "on any day",
        "every day including weekends", "on weekdays and weekends alike", "every day, rain or shine",
        "every day, holidays included", "once per day",
    ),
    "weekdays": (
        "every weekday", "on weekdays", "each weekday", "weekdays", "Monday to Friday", "Monday through Friday",
        "Mon-Fri", "from Monday to Friday", "Mondays to Fridays", "on every weekday", "on weekdays only",
        "every working day", "on all work days", "Monday till Friday", "five days a week, Monday to Friday",
        "every day except Saturday and Sunday", "every day except on weekends", "on every business day",
        "during the week, Monday to Friday", "on days Monday through Friday", "M-F", "every day of the working week",
        "Mon to Fri", "on each workday",
    ),
    "weekend": (
        "every weekend day", "on weekends", "at the weekend", "Saturday and Sunday", "on Saturdays and Sundays",
        "each Saturday and Sunday", "Sat and Sun", "Sat/Sun", "on weekend days", "weekends", "weekends only",
        "every Saturday and Sunday", "on both Saturday and Sunday", "Saturday & Sunday", "on weekends only",
        "on Sat and Sun", "on the two days of the weekend", "every Sunday and Saturday", "during weekends",
        "all weekend long, so Saturday and Sunday,",
    ),
    "weekly": (
        "every {d}", "on {ds}", "each {d}", "{ds}", "weekly on {d}", "once a week on {d}", "every week on {d}",
        "{d}s only" , "on {d} every week", "on every {d}", "on {d}", "each week on {d}", "on a weekly basis on {ds}",
        "on {ds} only", "every single {d}", "weekly on {ds}", "one day a week, {d},", "once every {d}",
        "whenever it is {d}", "all {ds}", "every {d} of the month", "{d} of every week", "on each {d} of the year",
        "only on {ds}",
    ),
    "days": (
        "on {dl}", "every {dl}", "on {dls}", "{dls}", "each {dl}", "on {dl} every week", "every week on {dl}",
        "on {dl} only", "only on {dls}", "weekly on {dl}", "on the days {dl}", "every {dl} of the week",
        "from the days of the week only {dl}", "each week on {dl}", "{dl}", "{dl} each week", "on these days: {dl},",
        "every single {dl}", "all {dls}", "for {dl}",
    ),
    "monthly": (
        "on the {dom} of every month", "on the {dom} of each month", "every month on the {dom}", "monthly on the {dom}",
        "on the {dom} of the month", "each month on the {dom}", "every {dom} of the month", "on the {dom}, every month,",
        "once a month on the {dom}", "the {dom} of every month", "on day {domn} of every month", "on the {dom} monthly",
        "on day {domn} of the month", "every month, on the {dom}", "on every {dom} of the month", "on the {dom}",
        "on the {dom} day of each month", "on day number {domn} of each month", "each {dom} of the month",
        "on a monthly basis, on the {dom},", "in every month on the {dom}", "monthly, day {domn},",
    ),
    "yearly": (
        "every year on {mon} {dom}", "on {mon} {domn} every year", "on {mon} {dom} each year", "every {mon} {dom}",
        "yearly on the {dom} of {mon}", "once a year on {mon} {domn}", "on the {dom} of {mon}", "each year on {domn} {mon}",
        "annually on {mon} {dom}", "every year on the {dom} of {mon}", "on {mon} {domn}", "each {mon} {domn}",
        "on {domn} {mon} every year", "every {dom} of {mon}", "once every year, on {mon} {dom},", "yearly on {mon} {domn}",
        "in {mon} on the {dom}", "in {mon}, day {domn},", "one day a year, {mon} {dom},", "on {domn} {mon} of any year",
    ),
    "quarterly": (
        "on the first day of every quarter", "every quarter on the first", "on the first of each quarter", "quarterly",
        "on the 1st of each quarter", "at the start of every quarter", "on the first day of January, April, July and October",
        "once a quarter, on its first day,", "each quarter on day one", "on the 1st of Jan, Apr, Jul and Oct",
        "every three months on the 1st, from January on,", "on the day a quarter starts", "quarterly on the first day",
        "every quarter, first day,", "on day 1 of January, April, July and October", "on the first day of the quarter",
        "on the opening day of every quarter", "when a quarter begins, on its first day,",
    ),
    "season": (
        "every day in {mon}", "each day in {mon}", "daily in {mon}", "in {mon}, every day", "every day of {mon}",
        "on all days of {mon}", "daily during {mon}", "throughout {mon}, daily", "every day during {mon}",
        "once a day in {mon}", "in {mon} only, every day", "each {mon} day", "on every {mon} day", "in {mon} daily",
        "all through {mon}, once a day,", "every day, but only in {mon},", "every day in the month of {mon}",
        "for all of {mon}, every day,",
    ),
    "several": (
        "every day{on}", "daily{on}", "each day{on}", "{on}", "{on}", "{on}", "always{on}", "each time{on}",
        "several times a day{on}", "more than once a day{on}",
    ),
}  # fmt: skip

TIMES = (
    "at {t}", "at {t}", "at {t}", "at {t}", "at {t}", "at {t}", "at {t} sharp", "at exactly {t}", "@ {t}", "for {t}",
    "at {t} on the dot", "when it is {t}", "when the clock shows {t}", "{t}", "{t}", "at the time {t}", "at precisely {t}",
)  # fmt: skip

SEVERAL_TIMES = (
    "at {t}", "at {t}", "at {t}", "{t}", "first at {t1}, later at {t2}", "at {t1}, then at {t2}", "@ {t}",
    "at {t1} and also at {t2}", "both at {t1} and at {t2}", "at {t1} as well as {t2}", "at the times {tl}", "at {tl}",
    "at {t1} plus {t2}", "at each of {t}",
)  # fmt: skip

# {w} is the whole schedule, frequency and time in either order. {F} and {T} place them one by one.
FRAMES = (
    "{w}", "{w}", "{w}", "{w}.", "{w} please", "please, {w}", "run {w}", "Run {w}.", "run it {w}", "run this {w}",
    "execute {w}", "trigger {w}", "fire {w}", "start {w}", "cron for {w}", "cron: {w}", "crontab entry for {w}",
    "schedule: {w}", "schedule it {w}", "Schedule this job {w}.", "schedule a job {w}", "job: {w}", "when: {w}",
    "what is the cron expression for {w}?", "What's the cron line for {w}?", "cron line, {w}", "the expression for {w}",
    "how do I write {w} in cron?", "How would I say {w} in cron syntax?", "which cron expression means {w}?",
    "I need {w}", "I need something that runs {w}", "I want it to run {w}", "it should run {w}", "make it run {w}",
    "It has to start {w}.", "could you set it to {w}?", "set it up {w}", "set a timer {w}", "it must happen {w}",
    "we want this {w}", "let it run {w}", "have it run {w}", "this should fire {w}", "set up a job that fires {w}",
    "convert to cron: {w}", "translate: {w}", "{w}, as cron", "{w} in cron", "give me the cron for {w}",
    "{F} - {T}", "{F}: {T}", "{T} / {F}", "{F}, {T}", "{T}, {F}", "time: {T}, days: {F}", "({F}) {T}",
    "frequency: {F}; time: {T}", "{F} and the time is {t}", "{F}. Time: {t}.", "{F}, time {t}", "{t} {F}", "{F} {t}",
    "{t}, {F}", "run {F}, and do it {T}", "do this {F}; start {T}", "it runs {F} and it starts {T}",
)  # fmt: skip

TASK_FRAMES = (
    "{task} {w}", "{task} {w}.", "please {task} {w}", "{w} {task}", "{w}, {task}", "{F} {task} {T}", "{F}, {task} {T}",
    "{T} {F}, please {task}", "can you {task} {w}?", "could you please {task} {w}?", "I want to {task} {w}",
    "I'd like to {task} {w}", "we need to {task} {w}", "we should {task} {w}", "remind me {w} to {task}",
    "remind us to {task} {w}", "don't forget to {task} {w}", "job to {task} {w}", "{T}, {task}, {F}", "{task}: {w}",
    "a cron job to {task} {w}", "set up a cron that will {task} {w}", "would you {task} {w}, please?", "TODO: {task} {w}",
    "it is time to {task} {w}", "the job must {task} {w}", "our script has to {task} {w}", "the server will {task} {w}",
    "let's {task} {w}", "{task} ({w})", "{task} - {F} - {T}", "somebody has to {task} {w}", "we usually {task} {w}",
    "I always {task} {w}", "when should it run? {task} {w}", "{task}, {F}, {T}", "{F} we {task} {T}",
    "make sure to {task} {w}", "have the system {task} {w}", "help me {task} {w}", "the plan is to {task} {w}",
    "my job: {task} {w}", "{w} I have to {task}", "{w} it is time to {task}", "{w} the robot should {task}",
)  # fmt: skip

NOUN_FRAMES = (
    "{noun} {w}", "{noun}: {w}", "{noun}, {w}", "the {noun} runs {w}", "the {noun} should run {w}", "start the {noun} {w}",
    "the {noun} is due {w}", "The {noun} has to begin {w}.", "we have the {noun} {w}", "schedule the {noun} {w}",
    "when does the {noun} run? {w}", "cron for the {noun}: {w}", "{w}: {noun}", "{w} - {noun}", "{F} the {noun} {T}",
    "{F} {noun} {T}", "the {noun} happens {w}", "the {noun} takes place {w}", "{noun} ({w})", "{noun} | {F} | {T}",
    "I want the {noun} {w}", "put the {noun} on {F} {T}", "our {noun} starts {w}", "the {noun} must be launched {w}",
    "please schedule my {noun} {w}", "the {noun} will go live {w}", "{F} there is the {noun}, it begins {T}",
)  # fmt: skip

TASKS = tuple(
    "run the backup;send the report;water the garden;check the disk;rotate the logs;clean the cache;call the office;"
    "restart the server;sync the files;feed the fish;back up the database;mail the invoices;update the prices;"
    "rebuild the index;print the labels;take the medicine;walk the dog;open the gate;close the valve;order milk;"
    "renew the certificates;purge old sessions;archive the tickets;post the menu;measure the temperature;"
    "charge the robot;export the orders;import the rates;scan for viruses;publish the podcast;empty the trash;"
    "warm up the oven;refresh the dashboard;compress the images;test the alarm;turn on the lights;turn off the heating;"
    "copy the photos;count the stock;pull the latest code;start the pump;stop the fan;download the weather data;"
    "pay the bills;vacuum the floor;ring the school bell;send a greeting;write the summary;reboot the router;"
    "tweet the news;message the team;generate the statistics;flush the queue;verify the backups;train the model;"
    "clear the temp folder;save the game;read the meter;email the customers;play the jingle".split(";")
)
NOUNS = tuple(
    "backup;weekly report;stand-up;cleanup;payroll;newsletter;database dump;health check;team meeting;yoga class;"
    "log rotation;data import;price update;inventory;virus scan;system update;reminder;sprinkler;church bell;batch job;"
    "digest;export;audit;lunch break;piano lesson;garbage pickup;status mail;sync;maintenance;coffee order;report;script;"
    "alarm clock;index rebuild;billing run;call with the client;fire drill;book club;training;webinar".split(";")
)


def whole(frequency: str, moment: str, rng: Random) -> str:
    """Frequency and time in one phrase, in either order, with or without a comma."""
    first, second = (frequency, moment) if rng.random() < 0.55 else (moment, frequency)
    separator = ", " if rng.random() < 0.15 else " "
    return f"{first}{separator}{second}".strip(" ,")


def timed(schedule: Schedule, rng: Random) -> str:
    """A request for a schedule that fires at times of day."""
    frequencies = [text for text in FREQUENCIES[schedule.kind] if slots.fits(text, schedule)]
    frequency = slots.fill(rng.choice(frequencies), schedule, rng).strip()
    template = rng.choice(SEVERAL_TIMES if len(schedule.times) > 1 else TIMES)
    moment, plain = slots.fill(template, schedule, rng), slots.fill("{t}", schedule, rng)
    frames = rng.choices((FRAMES, TASK_FRAMES, NOUN_FRAMES), (45, 35, 20))[0]
    if not frequency:
        frames = tuple(frame for frame in frames if "{F}" not in frame)
    text = rng.choice(frames).format(
        w=whole(frequency, moment, rng),
        F=frequency.strip(","),
        T=moment,
        t=plain,
        task=rng.choice(TASKS),
        noun=rng.choice(NOUNS),
    )
    return text.replace(",,", ",").replace(",.", ".").replace(",?", "?").replace(",:", ":")
