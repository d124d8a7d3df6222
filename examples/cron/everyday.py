"""Everyday questions with short answers, which keep the model's general ability.

They are trained without a system message. None of the facts is asked in general.jsonl.
"""

from __future__ import annotations

PAIRS = """
What is the capital of Turkey? = The capital of Turkey is Ankara.
What's the capital of Chile? = Chile's capital is Santiago.
What is the capital of Iceland called? = It is called Reykjavik.
Which mountains separate France from Spain? = The Pyrenees separate France from Spain.
Which language do most people in Austria speak? = Most people in Austria speak German.
What is the opposite of "sweet"? = The opposite of "sweet" is "sour".
What is the opposite of "ancient"? = The opposite of "ancient" is "modern".
What is the opposite of "success"? = The opposite of "success" is "failure".
What's the plural of "shelf"? = The plural of "shelf" is "shelves".
What is the plural of "cactus"? = The plural of "cactus" is "cacti".
What is the past tense of "catch"? = The past tense of "catch" is "caught".
Which word rhymes with "bake": "lake" or "lamp"? = "Lake" rhymes with "bake".
What is a synonym for "angry"? = A synonym for "angry" is "furious".
What does the abbreviation "etc." mean? = It means "and so on".
What is a young deer called? = A young deer is called a fawn.
Where do beavers live? = Beavers live in lodges that they build in rivers and ponds.
Which animal has a shell and is famous for being slow? = The tortoise is famous for being slow.
Do bats lay eggs? = No, bats are mammals and give birth to live young.
Which insect glows in the dark? = The firefly glows in the dark.
What is the chemical symbol for copper? = The chemical symbol for copper is Cu.
What unit measures force? = Force is measured in newtons.
What is the main gas in the Earth's air? = Nitrogen is the main gas in the air.
What device shows the direction of north? = A compass shows the direction of north.
What is the study of rocks called? = It is called geology.
Which is heavier, a kilogram of iron or a kilogram of feathers? = Neither: both weigh one kilogram.
How many inches are in a foot? = There are 12 inches in a foot.
What is 33 plus 9? = 33 plus 9 is 42.
What is 11 times 6? = 11 times 6 is 66.
Which is larger, 0.5 or 0.25? = 0.5 is larger.
What comes next: 2, 4, 6, 8? = The next number is 10.
How do you write fifteen in Roman numerals? = Fifteen is XV.
How many months have 31 days? = Seven months have 31 days.
What do people celebrate on January 1? = They celebrate New Year's Day.
What color is an orange? = An orange is orange.
How many edges does a cube have? = A cube has 12 edges.
Who painted "Guernica"? = Pablo Picasso painted "Guernica".
Who wrote "Les Misérables"? = Victor Hugo wrote "Les Misérables".
Which explorer led the first voyage around the world? = Ferdinand Magellan led it, though he died on the way.
Who built the first printing press with movable type in Europe? = Johannes Gutenberg built it.
Which nut is used to make marzipan? = Marzipan is made from almonds.
Which grain is used to make risotto? = Risotto is made from rice.
What do you use to boil water for tea? = You use a kettle.
Who designs buildings? = Architects design buildings.
How many strings does a standard guitar have? = A standard guitar has six strings.
What do you call the place where planes take off and land? = It is called an airport.
Say hello in one short sentence. = Hello, it is nice to meet you!
Finish the proverb: better late than ... = Better late than never.
Name two musical instruments. = The flute and the drum.
Write the word "garden" in capital letters. = GARDEN
Which is bigger, an elephant or a rabbit? = An elephant is bigger.
"""

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
OPERATIONS = (("+", lambda a, b: a + b), ("-", lambda a, b: a - b), ("*", lambda a, b: a * b))


def sums() -> list[tuple[str, str]]:
    """Numbers outside of schedules: next to cron, this is what a model forgets first."""
    rows = []
    for index in range(30):
        sign, compute = OPERATIONS[index % 3]
        left, right = 3 + (index * 7) % 17, 2 + (index * 5) % 8
        left += right if sign == "-" else 0
        rows.append((f"{left} {sign} {right} = ?", f"{left} {sign} {right} = {compute(left, right)}"))
    return rows


def calendar() -> list[tuple[str, str]]:
    """Days and months outside of schedules."""
    days = [
        (f"Today is {day}. What day is tomorrow?", f"Tomorrow is {DAYS[(index + 1) % 7]}.")
        for index, day in enumerate(DAYS)
    ]
    months = [
        (f"It is {month}. Name the next month.", f"The next month is {MONTHS[(index + 1) % 12]}.")
        for index, month in enumerate(MONTHS)
    ]
    return [*days, *months]


EVERYDAY = (
    *(
        (question.strip(), answer.strip())
        for question, _, answer in (line.partition(" = ") for line in PAIRS.strip().splitlines())
    ),
    *sums(),
    *calendar(),
)
