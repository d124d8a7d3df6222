"""The facts behind general.jsonl. `a = b|c` reads: the answer for a is b, and c is accepted too."""

from __future__ import annotations

TABLES: tuple[tuple[str, str, str], ...] = (
    (
        "geography",
        "What is the capital of {}?",
        """
France = Paris; Germany = Berlin; Italy = Rome; Spain = Madrid; Japan = Tokyo; England = London
Russia = Moscow
Greece = Athens; Egypt = Cairo; China = Beijing; Canada = Ottawa; Australia = Canberra; Portugal = Lisbon
Austria = Vienna; Poland = Warsaw; Sweden = Stockholm; Norway = Oslo; Denmark = Copenhagen; Finland = Helsinki
Ireland = Dublin; Hungary = Budapest; Cuba = Havana; Peru = Lima; Argentina = Buenos Aires; Thailand = Bangkok
Kenya = Nairobi; Iraq = Baghdad; Iran = Tehran|Teheran; South Korea = Seoul; Belgium = Brussels
the Czech Republic = Prague; India = New Delhi|Delhi; the United States = Washington; Scotland = Edinburgh
Ukraine = Kyiv|Kiev
""",
    ),
    (
        "geography",
        "On which continent is {}?",
        """
Brazil = South America; Nigeria = Africa; Vietnam = Asia; Mongolia = Asia; Switzerland = Europe
Ethiopia = Africa
Chile = South America; Nepal = Asia; the Sahara desert = Africa; the Netherlands = Europe
""",
    ),
    (
        "language",
        "What is the opposite of {}?",
        """
hot = cold; big = small|little|tiny; up = down; fast = slow; light = dark|heavy; happy = sad|unhappy
day = night
open = closed|close|shut; wet = dry; full = empty; early = late; old = young|new; rich = poor; strong = weak
hard = soft|easy
black = white; long = short; high = low; loud = quiet|silent|soft; clean = dirty; win = lose
buy = sell; push = pull; love = hate; begin = end|finish|stop; true = false; front = back|rear; thick = thin
deep = shallow
""",
    ),
    (
        "language",
        "What is the plural of the word '{}'?",
        """
child = children; mouse = mice; foot = feet; tooth = teeth; man = men; woman = women; goose = geese
box = boxes
city = cities; leaf = leaves; knife = knives; baby = babies; wolf = wolves; bus = buses; potato = potatoes
person = people|persons
dog = dogs; church = churches
""",
    ),
    (
        "language",
        "What is the past tense of the verb '{}'?",
        """
go = went; eat = ate; see = saw; run = ran; take = took; write = wrote; drink = drank; sing = sang
buy = bought; think = thought
make = made; give = gave; sleep = slept; teach = taught; fly = flew; break = broke
""",
    ),
    (
        "language",
        "What does the {} mean in English?",
        """
French word 'bonjour' = hello|good morning|good day; Spanish word 'gracias' = thank you|thanks
Spanish word 'hola' = hello|hi
Spanish word 'agua' = water; Spanish word 'casa' = house|home; Spanish word 'amigo' = friend
French word 'chat' = cat
German word 'Hund' = dog; French word 'rouge' = red; French word 'merci' = thank you|thanks
German word 'Wasser' = water
""",
    ),
    (
        "animals",
        "What is a baby {} called?",
        """
cat = kitten; dog = puppy|pup; cow = calf; sheep = lamb; horse = foal|colt|filly; pig = piglet
duck = duckling; goat = kid; kangaroo = joey
bear = cub; frog = tadpole; hen = chick
""",
    ),
    (
        "time and calendar",
        "Which month comes right after {}?",
        """
January = February; March = April; May = June; July = August; September = October; November = December
December = January
""",
    ),
    (
        "time and calendar",
        "Which day comes right after {}?",
        "Monday = Tuesday; Wednesday = Thursday; Friday = Saturday; Saturday = Sunday; Sunday = Monday",
    ),
    (
        "time and calendar",
        "How many days does {} have?",
        """
a week = 7; January = 31; April = 30; June = 30; December = 31
a leap year = 366|three hundred sixty-six|three hundred and sixty-six
a year that is not a leap year = 365|three hundred sixty-five|three hundred and sixty-five
""",
    ),
    (
        "science",
        "What is the chemical symbol for {}?",
        """
oxygen = O; hydrogen = H; gold = Au; silver = Ag; iron = Fe; carbon = C; sodium = Na; helium = He
nitrogen = N; calcium = Ca
""",
    ),
    (
        "colors and shapes",
        "What color is {}?",
        """
grass = green; a ripe banana = yellow; snow = white; coal = black; blood = red; a ripe strawberry = red
a carrot = orange
the sky on a clear day = blue; an emerald = green; a ruby = red; milk = white; a lemon = yellow
chocolate = brown; a fire truck = red
""",
    ),
    (
        "colors and shapes",
        "How many sides does {} have?",
        """
a triangle = 3; a square = 4; a pentagon = 5; a hexagon = 6; an octagon = 8; a rectangle = 4; a heptagon = 7
a decagon = 10
""",
    ),
    (
        "animals",
        "How many legs does {} have?",
        """
a dog = 4; a spider = 8; an ant = 6; a chicken = 2; a horse = 4; a bee = 6; a snake = 0|no legs|none
a cat = 4
""",
    ),
    (
        "people and history",
        "Who wrote '{}'?",
        """
Romeo and Juliet = Shakespeare; Hamlet = Shakespeare; Pride and Prejudice = Austen; Oliver Twist = Dickens
Harry Potter = Rowling
The Adventures of Tom Sawyer = Twain; The Hobbit = Tolkien; 1984 = Orwell; War and Peace = Tolstoy
The Odyssey = Homer
Frankenstein = Shelley; Don Quixote = Cervantes
""",
    ),
)

WORDED: dict[str, str] = {
    "geography": """
What is the largest ocean on Earth? = Pacific
What is the highest mountain in the world? = Everest
Which river flows through Egypt? = Nile
On which continent do penguins live in the wild near the South Pole? = Antarctica
What is the largest country in the world by area? = Russia
What is the smallest country in the world? = Vatican City|Vatican
Which country is shaped like a boot? = Italy
In which country is the Eiffel Tower? = France
In which city is the Statue of Liberty? = New York
In which country are the pyramids of Giza? = Egypt
What is the largest hot desert in the world? = Sahara
Which ocean lies between Europe and North America? = Atlantic
In which country is the Taj Mahal? = India
What is the largest continent? = Asia
Which country has the Great Wall? = China
In which country is the city of Toronto? = Canada
In which country is the city of Munich? = Germany
In which country is the city of Sydney? = Australia
In which country is the city of Barcelona? = Spain
In which city is Big Ben? = London
Which river flows through London? = Thames
In which direction does the sun rise? = east
In which direction does the sun set? = west
What currency is used in Japan? = yen
What currency is used in the United States? = dollar|dollars|USD
What currency is used in Germany today? = euro|euros|EUR
What language do people speak in Brazil? = Portuguese
What language do people speak in Mexico? = Spanish
Which US state has the city of Los Angeles? = California
How many continents are there? = 7
""",
    "science": """
What planet do we live on? = Earth
Which planet is closest to the Sun? = Mercury
Which planet is known as the Red Planet? = Mars
What is the largest planet in our solar system? = Jupiter
Which planet is famous for its rings? = Saturn
How many planets are there in our solar system? = 8
At how many degrees Celsius does water boil at sea level? = 100
At how many degrees Celsius does water freeze? = 0
What is frozen water called? = ice
What gas do humans need to breathe to live? = oxygen
What is the chemical formula of water? = H2O|H₂O
What force pulls objects toward the ground? = gravity
What star is at the center of our solar system? = Sun
What natural object orbits the Earth and lights the night? = Moon
What organ pumps blood through the body? = heart
What organ do humans think with? = brain
Which organs do we breathe with? = lungs|lung
How many bones does an adult human have? = 206|two hundred six|two hundred and six
What is the hardest natural substance? = diamond|diamonds
Which metal is liquid at room temperature? = mercury
What gas do plants take in from the air for photosynthesis? = carbon dioxide|CO2|CO₂
What is the largest organ of the human body? = skin
How many teeth does an adult human usually have? = 32
What is the process called by which plants make food from light? = photosynthesis
What do we call a scientist who studies the stars? = astronomer|astrophysicist
What instrument measures temperature? = thermometer
What instrument makes small things look larger in a laboratory? = microscope
What is H2O commonly called? = water
What is NaCl commonly called? = salt|table salt
How many chambers does the human heart have? = 4
Which sense do we use our ears for? = hearing
Which sense do we use our eyes for? = sight|vision|seeing
Which sense do we use our nose for? = smell|smelling|olfaction
What do caterpillars turn into? = butterfly|butterflies|moth|moths
What is molten rock called when it comes out of a volcano? = lava
What is the center of an atom called? = nucleus
Which vitamin do we get from sunlight? = D|vitamin D
What is the boiling point of water in degrees Fahrenheit? = 212|two hundred twelve|two hundred and twelve
What colorful arc can appear in the sky after rain? = rainbow
""",
    "animals": """
What animal says meow? = cat|cats|kitten
What animal says moo? = cow|cows
What animal barks? = dog|dogs
What is the largest animal in the world? = blue whale|whale
What is the fastest land animal? = cheetah
What is the tallest animal? = giraffe
What animal is known as the king of the jungle? = lion
Which insect makes honey? = bee|bees|honeybee|honeybees
What animal has a trunk and big ears? = elephant
Which bird cannot fly and lives in Antarctica? = penguin|penguins
What do we call a male chicken? = rooster|cock|cockerel
What do we call a female chicken? = hen
What is the largest bird in the world? = ostrich
What animal has black and white stripes and looks like a horse? = zebra
What do pandas mainly eat? = bamboo
What do cows eat in the pasture? = grass
What animal produces wool? = sheep
What animal hops and carries its young in a pouch? = kangaroo
How many arms does an octopus have? = 8
What do we call a female horse? = mare
What do we call a group of wolves? = pack
What do we call a home for fish made of glass? = aquarium|fish tank|tank
What does a spider spin to catch insects? = web|cobweb|webs
What do birds lay? = eggs|egg
What is the covering of a bird's body made of? = feathers|feather
What do you call an animal that eats only plants? = herbivore
What do you call an animal that eats only meat? = carnivore
What do bees collect from flowers? = nectar|pollen
Which animal is called man's best friend? = dog|dogs
Which animal is known for its black mask and washing its food? = raccoon|racoon
""",
    "time and calendar": """
How many months are in a year? = 12
How many minutes are in one hour? = 60
How many seconds are in one minute? = 60
How many hours are in one day? = 24
How many weeks are in a year? = 52
How many years are in a century? = 100
How many years are in a decade? = 10
How many seasons are there in a year? = 4
What is the first month of the year? = January
What is the last month of the year? = December
In which month is Christmas Day? = December
In which month is Halloween? = October
Which season comes after winter? = spring
Which season comes after summer? = autumn|fall
Which season is the coldest? = winter
Which season is the warmest? = summer
What is the shortest month of the year? = February
What meal do people eat in the morning? = breakfast
How many years is a millennium? = 1000|1,000|thousand
What day comes right before Friday? = Thursday
What month comes right before April? = March
How many days are in two weeks? = 14
How many minutes are in half an hour? = 30
A leap year usually comes once in how many years? = 4
""",
    "everyday objects": """
What do you use to cut paper? = scissors|knife
What do you use to open a locked door? = key|keys
What do you wear on your feet inside your shoes? = socks|sock
What do you wear on your head to keep the sun away? = hat|cap
What do you hold over your head when it rains? = umbrella
What do you use to brush your teeth? = toothbrush
What tool do you use to hit a nail? = hammer
What do you sit on at a table? = chair|chairs|bench|stool
What do you sleep on at night? = bed|mattress
What do you use to tell the time on your wrist? = watch|wristwatch
What kitchen appliance keeps food cold? = refrigerator|fridge
What do you use to eat soup? = spoon
What do you look into to see your own face? = mirror
What machine washes clothes? = washing machine|washer
What do you use to sweep the floor? = broom
What vehicle runs on rails? = train|trains|tram|locomotive
What vehicle flies in the air with passengers from airport to airport? = airplane|plane|aeroplane|aircraft|jet
What do you use to dry yourself after a shower? = towel
How many wheels does a bicycle have? = 2
How many wheels does a tricycle have? = 3
How many wheels does a car usually have? = 4
What do you wear to see better if your eyes are weak? = glasses|spectacles|eyeglasses|contact lenses
What do you use to write on a blackboard? = chalk
What do you put on a letter before you mail it? = stamp|stamps|postage
Where do you borrow books for free? = library|libraries
Where do you go to watch a movie on a big screen? = cinema|theater|theatre|movie theater
Where do doctors and nurses work? = hospital|hospitals|clinic|clinics
Where do children go to learn? = school|schools
How many strings does a violin have? = 4
How many keys does a standard piano have? = 88
What do firefighters put out? = fires|fire
Who flies an airplane? = pilot|pilots
Who cuts hair for a living? = hairdresser|barber|hairstylist|stylist|hairdressers|barbers
Who bakes bread for a living? = baker|bakers
Who teaches students at a school? = teacher|teachers
What do you call a person who treats sick animals? = veterinarian|vet
What do you call a person who repairs water pipes? = plumber
What do you call a person who paints pictures? = painter|artist
""",
    "food": """
What drink do cows give us? = milk
What is cheese made from? = milk
What are French fries made from? = potatoes|potato
What is bread mainly made from? = flour|wheat
What is wine made from? = grapes|grape
What fruit do raisins come from? = grapes|grape
What is the main ingredient of an omelette? = eggs|egg
What fruit is said to keep the doctor away if you eat one a day? = apple|apples
What yellow fruit do monkeys famously like? = banana|bananas
Which country do pizza and pasta come from? = Italy
Which country does sushi come from? = Japan
What vegetable makes you cry when you cut it? = onion|onions
What is ketchup made from? = tomatoes|tomato
What is chocolate made from? = cocoa|cacao
What sweet food do bees make? = honey
What frozen dessert is served in a cone? = ice cream
What hot drink is made by steeping leaves in water? = tea
What hot drink is brewed from roasted beans? = coffee
What orange vegetable do rabbits famously like? = carrot|carrots
What do you spread on bread that is made from cream? = butter
What is guacamole made from? = avocado|avocados
What is popcorn made from? = corn|maize
What is tofu made from? = soy|soybeans|soybean|soya|soy milk|soya beans
Which vegetable is carved into a lantern at Halloween? = pumpkin|pumpkins
What do we call dried plums? = prunes|prune
What white powder makes cakes sweet? = sugar
""",
    "people and history": """
Who was the first president of the United States? = Washington
Who was the first person to walk on the Moon? = Armstrong
Who painted the Mona Lisa? = Leonardo|da Vinci
Who developed the theory of relativity? = Einstein
Who discovered gravity, as the story goes, when an apple fell? = Newton
In which year did World War II end? = 1945
In which year did World War I begin? = 1914
In which year did Columbus first reach the Americas? = 1492
Who is usually credited with inventing the telephone? = Bell
Who is known for inventing a practical light bulb? = Edison
Which ship sank in 1912 after it hit an iceberg? = Titanic
Who was the president of the United States during the Civil War? = Lincoln
Which wall fell in 1989 in Germany? = Berlin
Who wrote 'On the Origin of Species' about evolution? = Darwin
Which people built the pyramids of Giza? = Egyptians|Egyptian
Which people built the Colosseum? = Romans|Roman
Who led India to independence through nonviolence? = Gandhi
Who was the first Black president of South Africa? = Mandela
Which Dutch artist painted 'The Starry Night'? = van Gogh|Gogh
Which composer wrote the Ninth Symphony with the 'Ode to Joy'? = Beethoven
Who painted the ceiling of the Sistine Chapel? = Michelangelo
Which queen of ancient Egypt loved Mark Antony? = Cleopatra
In which country did the Olympic Games begin in ancient times? = Greece
Who made the 'I Have a Dream' speech? = King
In which year did the Titanic sink? = 1912
In which year did the first people land on the Moon? = 1969
""",
    "language": """
How many letters are in the English alphabet? = 26
How many vowels are in the English alphabet, not counting Y? = 5
What is the last letter of the alphabet? = Z
What letter comes after B in the alphabet? = C
What letter comes after P in the alphabet? = Q
What punctuation mark ends a question? = question mark
What punctuation mark ends a normal sentence? = period|full stop
What do we call a word that means the same as another word? = synonym
What do we call a word that means the opposite of another word? = antonym
What do we call a naming word such as 'table' or 'dog'? = noun
What do we call an action word such as 'run' or 'jump'? = verb
What do we call a word that describes a noun? = adjective
Which language is spoken in France? = French
Which language is spoken in Italy? = Italian
How many letters are in the word 'house'? = 5
How many letters are in the word 'cat'? = 3
What is the comparative form of 'good'? = better
What is the superlative form of 'big'? = biggest
What is the feminine word for 'king'? = queen
What is the feminine word for 'actor'? = actress
What is the masculine word for 'aunt'? = uncle
What is the feminine word for 'prince'? = princess
What do you call your father's father? = grandfather|grandpa|granddad
What do you call your mother's sister? = aunt
What do you call your brother's daughter? = niece
""",
    "colors and shapes": """
What color do you get when you mix blue and yellow paint? = green
What color do you get when you mix red and yellow paint? = orange
What color do you get when you mix red and blue paint? = purple|violet
What color do you get when you mix black and white paint? = gray|grey
What color do you get when you mix red and white paint? = pink
Which color of a traffic light means stop? = red
Which color of a traffic light means go? = green
What shape is a ball? = sphere|spherical|round
What shape is a wheel? = circle|circular|round
How many colors are in a rainbow? = 7
How many faces does a cube have? = 6
How many corners does a triangle have? = 3
What is a shape with four equal sides and four right angles called? = square
What shape has three sides? = triangle
How many degrees are in a right angle? = 90
How many degrees are in a full circle? = 360|three hundred sixty|three hundred and sixty
The stripes of the US flag are white and which other color? = red
What do we call a line from the center of a circle to its edge? = radius
What do we call the distance around a circle? = circumference|perimeter
""",
}
