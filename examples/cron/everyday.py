"""Everyday questions with short answers, which keep the model's general ability.

They are trained without a system message. None of the facts is asked in general.jsonl.
"""

from __future__ import annotations

PAIRS = """
What is the capital of Turkey? = The capital of Turkey is Ankara.
What is the capital of Romania? = The capital of Romania is Bucharest.
What's the capital of Chile? = Chile's capital is Santiago.
Which city is the capital of Colombia? = The capital of Colombia is Bogotá.
What is the capital of Iceland called? = It is called Reykjavik.
Which is the longest river in South America? = The Amazon is the longest river in South America.
Which mountains separate France from Spain? = The Pyrenees separate France from Spain.
Which country has the city of Marrakesh? = Marrakesh is in Morocco.
Which language do most people in Austria speak? = Most people in Austria speak German.
What currency do people use in the United Kingdom? = They use the pound sterling.
What is the opposite of "sweet"? = The opposite of "sweet" is "sour".
What's the opposite of "brave"? = The opposite of "brave" is "cowardly".
What is the opposite of "ancient"? = The opposite of "ancient" is "modern".
Name the opposite of "arrive". = The opposite of "arrive" is "depart".
What is the opposite of "success"? = The opposite of "success" is "failure".
What is the opposite of "accept"? = The opposite of "accept" is "refuse".
What's the plural of "shelf"? = The plural of "shelf" is "shelves".
What is the plural of "hero"? = The plural of "hero" is "heroes".
What is the plural of "cactus"? = The plural of "cactus" is "cacti".
What is the past tense of "swim"? = The past tense of "swim" is "swam".
What is the past tense of "catch"? = The past tense of "catch" is "caught".
What's the past tense of "speak"? = The past tense of "speak" is "spoke".
Which word rhymes with "bake": "lake" or "lamp"? = "Lake" rhymes with "bake".
Give a synonym for "quick". = A synonym for "quick" is "rapid".
What is a synonym for "angry"? = A synonym for "angry" is "furious".
Spell the word "necessary". = N-E-C-E-S-S-A-R-Y.
What does the abbreviation "etc." mean? = It means "and so on".
What does "ASAP" stand for? = It stands for "as soon as possible".
What is a young deer called? = A young deer is called a fawn.
What do you call a group of lions? = A group of lions is called a pride.
Where do beavers live? = Beavers live in lodges that they build in rivers and ponds.
What do koalas eat? = Koalas eat eucalyptus leaves.
Which animal has a shell and is famous for being slow? = The tortoise is famous for being slow.
How many humps does a dromedary have? = A dromedary has one hump.
Do bats lay eggs? = No, bats are mammals and give birth to live young.
Can ostriches fly? = No, ostriches cannot fly, but they run very fast.
Which insect glows in the dark? = The firefly glows in the dark.
Which planet is farthest from the Sun? = Neptune is the planet farthest from the Sun.
What is the chemical symbol for copper? = The chemical symbol for copper is Cu.
What is the chemical symbol for lead? = The chemical symbol for lead is Pb.
What unit measures force? = Force is measured in newtons.
Why do we see lightning before we hear thunder? = Light travels much faster than sound.
What is the main gas in the Earth's air? = Nitrogen is the main gas in the air.
Which blood cells carry oxygen? = Red blood cells carry oxygen.
What device shows the direction of north? = A compass shows the direction of north.
What device measures air pressure? = A barometer measures air pressure.
What is the study of rocks called? = It is called geology.
Is Pluto a star? = No, Pluto is a dwarf planet.
Which is heavier, a kilogram of iron or a kilogram of feathers? = Neither: both weigh one kilogram.
How many grams are in a kilogram? = There are 1000 grams in a kilogram.
How many inches are in a foot? = There are 12 inches in a foot.
How many items are in a dozen? = A dozen is 12 items.
What is 33 plus 9? = 33 plus 9 is 42.
What is 45 minus 18? = 45 minus 18 is 27.
What is 11 times 6? = 11 times 6 is 66.
What is 63 divided by 7? = 63 divided by 7 is 9.
Which is larger, 0.5 or 0.25? = 0.5 is larger.
Is 17 a prime number? = Yes, 17 is a prime number.
What comes next: 2, 4, 6, 8? = The next number is 10.
I have three apples and eat one. How many are left? = Two apples are left.
How do you write fifteen in Roman numerals? = Fifteen is XV.
Which season comes before summer? = Spring comes before summer.
How many months have 31 days? = Seven months have 31 days.
Which day lies between Tuesday and Thursday? = Wednesday lies between Tuesday and Thursday.
What do people celebrate on January 1? = They celebrate New Year's Day.
What color are most tree leaves in summer? = They are green.
What color is an orange? = An orange is orange.
What color is the inside of a watermelon? = The inside of a watermelon is red.
How many edges does a cube have? = A cube has 12 edges.
What shape is an egg? = An egg is oval.
Who painted "Guernica"? = Pablo Picasso painted "Guernica".
Who composed "The Magic Flute"? = Mozart composed "The Magic Flute".
Who wrote "Les Misérables"? = Victor Hugo wrote "Les Misérables".
Who wrote the "Divine Comedy"? = Dante wrote the "Divine Comedy".
Which explorer led the first voyage around the world? = Ferdinand Magellan led it, though he died on the way.
Who was the first human in space? = Yuri Gagarin was the first human in space.
Who built the first printing press with movable type in Europe? = Johannes Gutenberg built it.
What is hummus made from? = Hummus is made from chickpeas.
Which nut is used to make marzipan? = Marzipan is made from almonds.
What gives curry its yellow color? = Turmeric gives curry its yellow color.
Which grain is used to make risotto? = Risotto is made from rice.
What do vegetarians not eat? = Vegetarians do not eat meat.
What do you use to boil water for tea? = You use a kettle.
What do you use to measure the length of a table? = You can use a tape measure.
Who designs buildings? = Architects design buildings.
Who takes photos for a living? = A photographer takes photos for a living.
How many strings does a standard guitar have? = A standard guitar has six strings.
How many players does a soccer team have on the field? = A soccer team has eleven players on the field.
What do you call the place where planes take off and land? = It is called an airport.
What do you keep money in when you carry it with you? = You keep it in a wallet or a purse.
Say hello in one short sentence. = Hello, it is nice to meet you!
How do you ask for help politely? = You can say: "Could you help me, please?"
Finish the proverb: better late than ... = Better late than never.
Finish the proverb: practice makes ... = Practice makes perfect.
Name two musical instruments. = The flute and the drum.
Name three vegetables. = Spinach, peas, and cabbage.
Write the word "garden" in capital letters. = GARDEN
Does oil float on water? = Yes, oil floats because it is less dense than water.
Which is bigger, an elephant or a rabbit? = An elephant is bigger.
Which is warmer, July in Spain or January in Spain? = July is warmer.
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
