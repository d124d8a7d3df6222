"""Training families for what repeats within the day, and the finishing touches all families share."""

from __future__ import annotations

import re
from random import Random

import frames
import phrasings
import slots
from schedules import Schedule

EVERY: dict[str, tuple[str, ...]] = {
    "minutes": (
        "every {n} minutes{on}", "every {n} min{on}", "each {n} minutes{on}", "once every {n} minutes{on}",
        "{on} every {n} minutes", "every {n} minutes, all day{on}", "every {n} minutes around the clock{on}",
        "every {nf}m{on}", "repeatedly, every {n} minutes{on}", "every {n} minutes of the hour{on}",
        "at every {nth} minute{on}", "on every {nth} minute{on}", "in steps of {n} minutes{on}",
        "with a period of {n} minutes{on}", "once per {n} minutes{on}", "{on} once every {n} minutes",
        "all {n} minutes{on}", "each time {n} minutes have passed{on}", "interval: {n} minutes{on}",
        "{n} minutes apart{on}", "{k} times per hour, so every {n} minutes{on}",
        "every {n} minutes of every hour{on}", "a {n}-minute interval{on}", "always after {n} minutes{on}",
        "{on}, interval {n} min", "every {n} mins{on}", "each {n} min{on}",
        "with {n} minutes from one to the next{on}", "continuously at a {n} minute interval{on}",
        "whenever the minute is divisible by {n}{on}", "on minutes that are multiples of {n}{on}",
        "at a {n} minute cadence{on}", "a cycle of {n} minutes{on}", "repeat every {n} minutes{on}",
        "not hourly but every {n} minutes{on}", "one run in {n} minutes{on}",
        "every {n} minutes, day and night{on}",
        "minute 0, then {n} minutes later, and so forth{on}", "{on} at a {n} minute cadence",
        "like clockwork every {n} minutes{on}", "no more often than every {n} minutes{on}",
    ),
    "minute": (
        "every minute{on}", "each minute{on}", "once a minute{on}", "once per minute{on}",
        "{on} every minute", "every single minute{on}", "minute by minute{on}", "on every minute{on}",
        "at every minute of the day{on}", "60 times an hour, once a minute{on}",
        "as often as cron can, every minute{on}",
    ),
    "hours": (
        "every {n} hours{on}", "each {n} hours{on}", "once every {n} hours{on}", "every {nf}h{on}",
        "{on} every {n} hours", "every {n} hours on the hour{on}", "every {nth} hour{on}",
        "at minute 0 of every {nth} hour{on}", "every {n} hours, starting at midnight{on}",
        "in steps of {n} hours{on}", "every {n} hours around the clock{on}",
        "at the full hour, every {n} hours{on}", "interval: {n} hours{on}",
        "{n} hours apart, on the hour{on}", "a {n}-hour interval{on}", "every {n} hrs{on}",
        "once per {n} hours{on}", "each {nth} hour on the hour{on}", "repeat every {n} hours{on}",
        "a cycle of {n} hours{on}", "at midnight and each {n} hours after that{on}",
        "at a {n} hour cadence{on}", "whenever the hour is divisible by {n}{on}",
        "on hours that are multiples of {n}{on}", "all {n} hours{on}", "every {n} hours, day and night{on}",
        "like clockwork every {n} hours{on}",
    ),
    "hourly": (
        "every hour at minute {m}{on}", "at minute {m} of every hour{on}", "{m} minutes past every hour{on}",
        "hourly at :{mm}{on}", "at {m} minutes past the hour{on}", "every hour at {m} minutes past{on}",
        "hourly at minute {m}{on}", "at {m} past every hour{on}", "each hour at minute {m}{on}",
        "{on} every hour at minute {m}", "at :{mm} each hour{on}", "once an hour, at minute {m}{on}",
        "once per hour at :{mm}{on}", "when the minute is {m}, every hour{on}",
        "every hour, {m} minutes after the full hour{on}", "{m} minutes past the hour, hourly{on}",
        "on minute {m} of the hour{on}", "hourly, minute {m}{on}", "always at minute {m}{on}",
        "{m} minutes after every full hour{on}", "at :{mm} past each hour{on}", "{m} past the hour{on}",
        "each full hour plus {m} minutes{on}", "hourly with minute {m}{on}", "at {pw} every hour{on}",
        "{pw} each hour{on}", "at {pw} the hour{on}", "hourly at {pw}{on}", "every hour at {pw}{on}",
        "always {pw} the hour{on}", "at every {pw}{on}", "on the {mm} mark of each hour{on}",
        "every hour once minute {m} comes{on}", "24 times a day, at minute {m}{on}",
        "at {m} minutes past, hour by hour{on}", "{on} at minute {m} of the hour",
        "the hour may be any, the minute is {m}{on}",
    ),
    "full hour": (
        "every hour{on}", "hourly{on}", "on the hour{on}", "every hour on the hour{on}", "once an hour{on}",
        "each hour{on}", "at the top of every hour{on}", "{on} every hour", "at every full hour{on}",
        "at minute 0 of each hour{on}", "24 times a day, on the hour{on}",
    ),
    "window": (
        "every {n} minutes from {a} to {b}{on}", "every {n} minutes between {a} and {b}{on}",
        "{on} every {n} minutes from {a} to {b}", "every {n} minutes during the hours {a} to {b}{on}",
        "between {a} and {b}, every {n} minutes{on}", "from {a} to {b} every {n} minutes{on}",
        "from {a} until {b}, once every {n} minutes{on}", "{on} between {a} and {b} every {n} min",
        "every {n} min, {a} to {b}{on}", "every {n} minutes, only between {a} and {b}{on}",
        "{a} through {b}{on}, every {n} minutes", "every {n} minutes in the hours from {a} through {b}{on}",
        "starting at {a}, ending with the {b} hour, every {n} minutes{on}",
        "each {n} minutes from {a} through {b}{on}", "{a} - {b}, every {n} minutes{on}",
        "hours {a} to {b}{on}, interval {n} minutes", "at {n} minute steps from {a} to {b}{on}",
        "in steps of {n} minutes, {a} through {b}{on}", "{on}, {a} to {b}, each {n} minutes",
        "with {n} minutes from one to the next, {a} to {b}{on}",
        "not around the clock, just {a} to {b}: every {n} minutes{on}",
    ),
    "hour window": (
        "every hour from {a} to {b}{on}", "hourly between {a} and {b}{on}", "{on} every hour from {a} to {b}",
        "on the hour from {a} through {b}{on}", "once an hour between {a} and {b}{on}",
        "each hour from {a} until {b}{on}", "hourly from {a} to {b}{on}", "from {a} to {b}, once an hour{on}",
        "between {a} and {b}, every hour{on}", "{a} to {b} hourly{on}",
        "every full hour, {a} through {b}{on}", "{a} - {b}, on the hour{on}", "{on}, every hour, {a} to {b}",
        "at minute 0, {a} to {b}{on}", "{on} hourly, first at {a}, last at {b}",
        "each full hour between {a} and {b}{on}",
    ),
}  # fmt: skip


def shape(schedule: Schedule) -> str:
    """Which group of interval phrases says the schedule."""
    if schedule.kind == "minutes":
        return "minute" if schedule.every == 1 else "minutes"
    if schedule.kind == "hourly":
        return "full hour" if schedule.minute == (0,) else "hourly"
    if schedule.kind == "hours":
        return "hours"
    return "hour window" if schedule.every == 60 else "window"


def repeated(schedule: Schedule, rng: Random) -> str:
    """A request for a schedule that repeats within the day."""
    template = rng.choice([text for text in EVERY[shape(schedule)] if slots.fits(text, schedule)])
    phrase = slots.fill(template, schedule, rng).strip(" ,")
    return frames.whole_frame(phrase, rng)


def finish(text: str, rng: Random) -> str:
    """Vary case and final punctuation. Typing mistakes are left to the unfamiliar items."""
    text = re.sub(r" +", " ", text).replace(" ,", ",").replace(" .", ".").strip()
    roll = rng.random()
    if roll < 0.25:
        text = text.lower()
    elif roll < 0.5:
        text = text[0].upper() + text[1:]
    if text[-1].isalnum() and rng.random() < 0.15:
        text += rng.choice((".", ".", "!", " thanks", ", thank you", " please"))
    return text.replace("..", ".") if text.endswith("..") else text


def phrase(schedule: Schedule, rng: Random) -> str:
    """A training request for any schedule."""
    return finish(timed(schedule, rng), rng)


def timed(schedule: Schedule, rng: Random) -> str:
    """Pick the half of the grammar that covers the schedule's kind."""
    return phrasings.timed(schedule, rng) if schedule.hour else repeated(schedule, rng)
