"""Phrasings that never occur in training, in two groups that share nothing.

`DEV_FAMILIES` serve for choosing the recipe, `GATE_FAMILIES` for the final figure. They stand for what
colleagues type when nobody has told them how. The training families are written without reference to them.
"""

from __future__ import annotations

GATE_FAMILIES: dict[str, tuple[str, ...]] = {
    "daily": (
        "ping me each and every day once the clock hits {t}",
        "Day in, day out, {t}, no exceptions.",
        "evry day at {t} pls",
        "{t} - seven days a week",
        "the warm-up needs to go off once per day, let's say {t}",
        "I water the plants at {t}, same thing tomorrow, same thing the day after",
    ),
    "weekdays": (
        "business days only, {t}",
        "whenever people are in the office (so not Sat or Sun), {t}",
        "workdays @ {t}, thx",
        "{t}, but never on a Saturday or Sunday",
        "The coffee machine has to heat up by itself on working days. Switch-on time: {t}.",
    ),
    "weekend": (
        "sats and suns, {t}",
        "only when nobody is working, i.e. Saturday plus Sunday, {t}",
        "both weekend days, {t}",
        "I sleep in on weekends, so sound the alarm at {t} then",
    ),
    "weekly": (
        "Our {d} catch-up kicks off at {t}",
        "weekly thing, {ds}, {t}",
        "{t} any time it's a {d}",
        "let {d} at {t} be the slot, week in week out",
        "bins go out {d}, nudge me {t}",
        "evry {d3} {t} plz",
    ),
    "days": (
        "limit it to {dl}, {t}",
        "we do this {dl} - {t}",
        "{t} but just {dl}",
        "Gym days are {dl}. Wake-up call {t}.",
        "The shop takes deliveries {dl}; unlock the gate at {t}",
    ),
    "monthly": (
        "rent goes out on the {dom} each month - {t}",
        "whatever month it is, the {dom}, {t}",
        "payday is the {dom}, so pay everyone then, {t} please",
        "When the calendar says {dom}, do it at {t}",
        "once a month, date {domn}, clock time {t}",
    ),
    "yearly": (
        "happens just once a year: {mon} {dom}, {t}",
        "The anniversary is {domn} {mon}; ring the bell at {t}",
        "come {mon} {dom} each year, {t}",
        "grandma's birthday, {mon} {domn}, call her {t}",
    ),
    "minutes": (
        "keep polling{on}, {n} minutes between polls",
        "leave a gap of {n} minutes each time{on}, round the clock",
        "one ping per {n} mins{on}",
        "do it again after {n} min, and again, and again{on}",
    ),
    "hours": (
        "{n}-hourly{on}, top of the hour",
        "with {n} hours in between{on}, always on the hour, midnight included",
    ),
    "hourly": (
        "each time the minute hand reaches {m}{on}",
        "hourly{on}, but offset by {m} minutes",
        "xx:{mm}{on}",
        "there's a bus at {m} past, every single hour{on}",
    ),
    "window": (
        "poll at {n} minute intervals{on}, first hour {a}, last hour {b}",
        "a check per {n} minutes{on} while we're open, {a} till {b}",
        "chime on each full hour{on}, {a} up to {b}",
        "nothing before {a} and nothing after the {b} hour, otherwise each {n} min{on}",
    ),
}

DEV_FAMILIES: dict[str, tuple[str, ...]] = {
    "daily": (
        "{t} rolls around, you do the backup, every day of the year",
        "same procedure as every day: {t}",
        "my cat wants food every dya at {t}",
    ),
    "weekdays": ("{t} when it's not the weekend", "office days, {t}, cheers"),
    "weekend": (
        "no work today? then {t} (that's Sat + Sun)",
        "leave the week alone, Saturday and Sunday only, {t}",
    ),
    "weekly": (
        "{d} rolls in, {t} strikes, off it goes",
        "I'd like it {ds}, {t} if possible",
        "every wek on {d}, {t}",
    ),
    "days": ("choir practice is {dl}, doors open {t}", "pick {dl} and nothing else, {t}"),
    "monthly": ("bill customers when the {dom} comes round, {t}", "the {dom}, any month you like, {t}"),
    "yearly": ("tax stuff, due {mon} {dom} annually, go at {t}", "our founding day ({mon} {domn}), {t}"),
    "minutes": (
        "{n} minutes pass, it runs, {n} more, it runs again{on}",
        "refresh, wait {n} min, refresh, ...{on}",
    ),
    "hours": ("let {n} hours go by, then at the full hour, repeat{on}", "{nf}h cycle{on}, minute zero"),
    "hourly": ("{m} minutes into any given hour{on}", "hour after hour{on}, at minute mark {m}"),
    "window": ("opening hours {a} through {b}{on}: look every {n} min", "{a} to {b} on the full hours{on}"),
}

GATE_CORRECTIONS: dict[str, tuple[str, ...]] = {
    "time": ("hmm no, {t} suits us better", "oh wait, I meant {t}", "not that early or late, {t}!"),
    "day": ("wrong day, it has to be {d}", "{ds}, sorry, my bad"),
    "weekdays": ("people are off on weekends, so leave those out",),
    "weekend": ("hang on, it should be quiet Monday to Friday, only the other two days",),
    "daily": ("come to think of it, no day should be left out",),
    "step": ("too often or too rare, {n} minutes is what we need",),
    "date": ("shift that to the {dom}",),
}

DEV_CORRECTIONS: dict[str, tuple[str, ...]] = {
    "time": ("scratch that, we settled on {t}", "typo on my side, {t}"),
    "day": ("they moved the meeting, it's {d} now",),
    "weekdays": ("nobody reads it on the weekend, drop those two days",),
    "step": ("let's go with a {n} minute gap instead",),
    "date": ("accounting prefers the {dom}",),
}

GATE_REFUSALS: dict[str, tuple[str, ...]] = {
    "seconds": ("blink the lamp with {s} seconds in between", "{s}-second heartbeat please"),
    "weeks": ("{ds} at {t}, but alternate: one week yes, one week no", "pay is fortnightly, {d} {t}"),
    "sun": (
        "close the shutters when it gets dark, whenever the sun goes down",
        "roosters crow as the sun comes up, so {off} before",
    ),
    "holidays": (
        "weekdays {t}, bank holidays off please",
        "{t} daily, unless it happens to be Christmas or another public holiday",
    ),
    "lastday": ("month's end, final day, {t}", "on the very last date of each month, be it 28 or 31, {t}"),
    "nth": ("board meets the {nth} {d} of the month, {t}", "{t}, month's final {d}"),
}

DEV_REFUSALS: dict[str, tuple[str, ...]] = {
    "seconds": ("tick, wait {s} seconds, tick",),
    "weeks": ("skip a week, then {d} {t}, skip a week again",),
    "sun": ("when dawn breaks",),
    "holidays": ("{t} each working day but take national holidays into account",),
    "lastday": ("books close on the month's last day, {t}",),
    "nth": ("{nth} {d} monthly, {t}",),
}
