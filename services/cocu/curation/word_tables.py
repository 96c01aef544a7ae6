"""The closed lists of English that surface forms, matching and mining need, written for this project."""

from __future__ import annotations


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNCHANGING = _listed("""
    sheep deer fish moose bison elk salmon trout shrimp squid cod tuna swine aircraft spacecraft
    watercraft hovercraft series species offspring cattle poultry people police livestock wildlife
    seafood scissors glasses eyeglasses sunglasses spectacles specs goggles binoculars pliers tongs
    shears tweezers clippers pants trousers jeans shorts leggings tights pajamas pyjamas overalls
    slacks sweatpants underpants briefs boxers knickers panties trunks leotards dungarees chaps
    khakis clothes bedclothes nightclothes underclothes suspenders headphones earphones earbuds
    stairs steps groceries barracks headquarters gallows chopsticks bleachers fireworks nachos fries
    noodles oats greens grits feathers reins handcuffs dice men women children teeth feet geese mice
    oxen lice
""")
"""Nouns with one form for both numbers, and plurals."""

IRREGULAR = {"ox": "oxen", "die": "dice", "quiz": "quizzes"}

IRREGULAR_ENDINGS = {
    "woman": "women", "man": "men", "child": "children", "goose": "geese", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "louse": "lice", "person": "people", "fish": "fish", "sheep": "sheep", "deer": "deer",
    "cactus": "cacti", "fungus": "fungi", "passerby": "passersby", "craft": "craft", "ware": "ware", "wear": "wear",
}  # fmt: skip
"""Endings of nouns and of compounds with them ("fireman", "dormouse"), with the endings of their plurals."""

REGULAR_DESPITE_ENDING = _listed(
    "human german roman norman ottoman caiman cayman talisman shaman mongoose craft"
)
"""Nouns that only look as if they ended in one of `IRREGULAR_ENDINGS`."""

F_TO_VES = _listed("""
    knife wife life leaf loaf half shelf bookshelf calf wolf elf thief scarf hoof sheaf wharf
    housewife jackknife penknife pocketknife meatloaf flyleaf werewolf midwife dwarf
""")

O_TO_OES = _listed("tomato potato mango hero echo volcano tornado mosquito buffalo cargo domino torpedo")

SECOND_PLURALS = {
    "fish": ("fishes",), "shrimp": ("shrimps",), "person": ("persons",), "cactus": ("cactuses",),
    "mango": ("mangos",), "scarf": ("scarfs",), "hoof": ("hoofs",), "wharf": ("wharfs",), "volcano": ("volcanos",),
    "buffalo": ("buffalos", "buffalo"), "octopus": ("octopi",), "hippopotamus": ("hippopotami",),
    "platypus": ("platypi",), "squid": ("squids",), "dwarf": ("dwarfs",), "zero": ("zeroes",),
    "flamingo": ("flamingoes",), "tuna": ("tunas",), "fungus": ("funguses",), "antenna": ("antennae",),
    "stadium": ("stadia",), "aquarium": ("aquaria",), "mosquito": ("mosquitos",), "domino": ("dominos",),
    "cargo": ("cargos",), "bureau": ("bureaux",), "gateau": ("gateaux",), "plateau": ("plateaux",),
}  # fmt: skip
"""Further plurals that people write."""

PREPOSITIONS = _listed("of in on with at for from by to de")

_BRITISH_AMERICAN = """
    colour color, coloured colored, grey gray, tyre tire, pyjamas pajamas, pyjama pajama, aeroplane
    airplane, doughnut donut, jewellery jewelry, theatre theater, centre center, harbour harbor,
    armour armor, armoured armored, neighbour neighbor, neighbourhood neighborhood, fibre fiber,
    plough plow, kerb curb, moustache mustache, catalogue catalog, storey story, yoghurt yogurt,
    omelette omelet, cheque check, liquorice licorice, draught draft, mould mold, moulding molding,
    sabre saber, sceptre scepter, calibre caliber, axe ax, atomiser atomizer, liquidiser liquidizer,
    nebuliser nebulizer, fertiliser fertilizer, racquet racket, lasagne lasagna, whisky whiskey,
    sulphur sulfur, aluminium aluminum, traveller traveler, jeweller jeweler, parlour parlor,
    councillor councilor, chequered checkered, panelling paneling, panelled paneled, litre liter,
    metre meter, woollen woolen, mollusc mollusk, pedlar peddler, ploughman plowman, snowplough
    snowplow, speciality specialty, vapour vapor, watercolour watercolor, archaeologist
    archeologist, waggon wagon, licence license, lustre luster, ochre ocher, amphitheatre
    amphitheater, dialogue dialog, cosy cozy, organiser organizer, sanitiser sanitizer, stabiliser
    stabilizer, moisturiser moisturizer, equaliser equalizer, vaporiser vaporizer, synthesiser
    synthesizer, appetiser appetizer, chilli chili, counsellor counselor, bannister banister,
    propellor propeller, cantaloup cantaloupe, ketchup catsup
"""
_PAIRS = [(pair.split()[0], pair.split()[1]) for pair in _BRITISH_AMERICAN.split(",")]
TO_AMERICAN = dict(_PAIRS)
TO_BRITISH = {american: british for british, american in _PAIRS}

COMPOUND_ENDINGS = tuple(sorted(_listed("""
    board ball house boat light room glass bag brush pot cake berry cycle fly melon shade storm
    plane ship truck yard paper case book basket bin stick shell flower market stand fish pole cup
    bath stone strap wheel mill bowl cloth coat shirt suit wear gown tub tower rack rod dish knife
    spoon lamp post way walk work top hook pack phone chair car bike cart man woman tail horse bird
    dog fall bed tree corn roll cream bread pants
""")))  # fmt: skip
"""Second parts of solid compounds that people also write open: "skate board", "water melon"."""

NO_COMPOUND_STEMS = _listed("""
    green blue black white red grey gray brown hot high big small grand free strong wild tele wood
    per super sub out over under inter mega mini trans sem hum rom ger otto talis cai sha nor
""")
"""First parts that would make the open form mean something else ("green house"), or nothing at all."""
