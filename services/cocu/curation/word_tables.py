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
    "cactus": "cacti", "fungus": "fungi", "passerby": "passersby", "craft": "craft", "ware": "ware",
    "wear": "wear",
}  # fmt: skip
"""Endings of nouns and of compounds with them ("fireman", "dormouse"), with the endings of their plurals."""

IRREGULAR_PLURALS = _listed("people men women children feet teeth geese mice lice oxen dice")

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
    "mango": ("mangos",), "scarf": ("scarfs",), "hoof": ("hoofs",), "wharf": ("wharfs",),
    "volcano": ("volcanos",), "buffalo": ("buffalos", "buffalo"), "octopus": ("octopi",),
    "hippopotamus": ("hippopotami",),
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

VERB_LIKE = _listed("""
    can watch stand cross head face park play drink ride fly saw show swing cook surf dance cover
    board hug kiss sail slide duck race hook smile row tie dress walk run lead record ski skate wave
    guard model judge roll mix handle serve present comb push step trim whip
""")
"""Nouns that captions use as verbs at least as often: after their subject, or before their object, they
name no thing."""

SUBJECTS = _listed("who that which he she they we i you it can could will would may might")
"""What stands before a verb, besides the nouns."""

OBJECT_MARKS = _listed(
    "a an the his her their its him them it each another this these those my your our towards toward"
)
"""What stands after a verb."""

UNMARKED_PLURALS = _listed(
    "people men women children sheep fish deer geese police cattle mice firemen firefighters"
)

MEASURE_LIKE = _listed("""
    couple couples picture pictures photo photos photograph photographs snapshot snapshots image
    images pair pairs bunch group groups row rows pile piles stack stacks range
""")
"""Nouns that name no thing before "of": "a couple of dogs", "a picture of a dog"."""

ADJECTIVE_LIKE = _listed("""
    orange gold silver solid cream rose violet lavender olive light mint coral salmon peach lime
    plum turquoise bronze copper ivory amber structural chocolate
""")
"""Nouns that mostly name a colour or a property when another noun follows: "an orange shirt"."""

FUNCTION_WORDS = _listed("""
    a an the this that these those some any each every another other others both all several many
    few much more most no not his her their its my your our one two three four five six seven eight
    nine ten eleven twelve dozen hundred i you he she it we they him them me us who whom whose which
    what where when while why how there here himself herself itself themselves someone something
    everyone anyone nobody of in on at with by for from to into onto over under above below behind
    beside besides between among around across along through during before after against near next
    toward towards up down off out about as like than without within upon inside outside underneath
    beneath past per via until since amid amidst alongside atop and or but nor so yet because if
    then also too very just only even still really quite almost together away apart is are was were
    be been being am has have had having do does did doing done can could will would shall should
    may might must 's isn't aren't don't doesn't it's that's there's he's she's they're now always
    often again already ready back ahead forward backwards sideways indoors outdoors outside
    overhead nearby front top middle bottom side left right end
""")
"""Words that never stand inside a noun phrase that is worth a concept."""

_VERBS = """
    sit stand lie lay look hold carry wear walk run ride eat feed play swing throw catch hit kick
    jump fly drive pull push show display contain feature include have make take get give put go
    come see use try prepare cut perform wait watch stare smile pose talk speak read write cover
    fill surround attach hang lean rest sleep travel move turn cross pass follow lead reach point
    face graze swim surf skate ski grind climb lick bite chew drink pour cook bake slice serve share
    enjoy celebrate sell buy work open close set begin start stop finish park fix repair check place
    decorate line stack pile mount wrap dress seem appear become keep let leave help want need cast
    grow bloom sprout perch soar hover float drift lift raise lower toss drop blow pet hug kiss
    touch reveal depict consist gather crowd top bend kneel crouch squat roll slide fall land
    approach enter exit board dry wash brush clean connect compete battle attempt race await
    accompany adorn overlook sip stir adjust dine chat laugh cheer demonstrate operate tie fasten
    load unload pack ready pick learn live shoot shine
"""
VERB_NOUNS = _listed("""
    park stand drink board cut crowd ski skate brush dress top play watch slice cover face line race
    stop ride swing cross kiss hug roll slide pet cook
""")
"""Base forms that are as often nouns, so that only their other forms are taken for verbs."""


def _inflections(verb: str) -> set[str]:
    stem = verb.removesuffix("e")
    doubled = verb + verb[-1]
    third = verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeou" else verb + "s"
    past = verb[:-1] + "ied" if third.endswith("ies") else stem + "ed"
    return {third, verb + "es", past, doubled + "ed", doubled + "ing", stem + "ing", verb + "ing"}


ATTRIBUTIVE = _listed("""
    living dining parking sewing washing swimming cutting baking frying rocking bowling walking
    running fishing shopping skating vending waiting changing watering rolling driving reading
    dressing meeting drinking eating sleeping boxing baked fried mashed scrambled stuffed grilled
    boiled roasted
""")
"""Participles that open many compounds: "living room", "parking meter", "fried egg"."""

VERBS = frozenset(
    form for verb in _VERBS.split() for form in ({verb} - VERB_NOUNS) | (_inflections(verb) - ATTRIBUTIVE)
) | _listed("""
    sat stood lain laid held wore ran rode ate fed threw caught flew drove cut shown seen taken made given put
    gone came worn eaten hung hanging lying tied filled left kept grown drawn built broken lit having being
    getting doing using going based called named looking
""")
"""Common verbs of captions, in the forms that are not as often nouns."""

ADJECTIVES = _listed("""
    red green blue yellow purple pink brown black white grey gray golden dark bright pale colorful
    colourful colored coloured multicolored big small large little tiny huge giant long short tall
    high low wide narrow thick thin deep shallow heavy old new young elderly adult modern vintage
    antique ancient fresh dirty clean empty full open closed wet dry hot cold warm cool frozen snowy
    sunny cloudy rainy foggy sandy grassy rocky wooden metallic round square oval flat steep sharp
    soft fluffy furry hairy bald beautiful pretty cute nice lovely handsome ugly happy sad angry
    funny silly strange odd weird interesting different various same similar single double multiple
    whole half entire main first second third last final busy crowded quiet calm clear blurry close
    closeup upside professional public local electric electronic male female human wild domestic
    adorable delicious tasty healthy raw fancy plain simple good great best better bad such own
    certain possible available famous popular traditional typical unique special ornate decorative
    striped spotted checkered floral patterned matching bare naked dead alive broken rusty older
    younger larger smaller bigger unusual partially elegant stylish fashionable residential urban
    rural medium sized stationary cluttered messy neat tidy furnished unfurnished lush grassy leafy
    barren choppy rough smooth
""")
"""Common adjectives: they open a noun phrase but never are its head."""

ING_AND_ED_NOUNS = _listed("""
    building ceiling wedding painting string ring king wing swing railing clothing lighting frosting
    icing earring pudding spring drawing awning siding stuffing covering flooring bedding seasoning
    topping dressing lightning evening morning pancaking sibling duckling dumpling viking herring
    stocking carving crossing landing helping bed shed sled seed weed reed moped hundred bobsled
    hotbed flatbed seabed newlywed steed lily fly belly jelly butterfly family bully trolley ally
    assembly housefly dragonfly gully
""")
"""Nouns that only look like forms of verbs or like adverbs."""

NOT_THINGS = _listed("""
    day night time way view part piece lot group bunch pair couple variety number style kind type
    thing things stuff area place set row line inside outside shot scene photo picture image
    photograph background foreground distance middle edge corner center centre top bottom front back
    side left right end air position direction color colour shape size amount assortment array
    collection series selection display work job life world year month week hour minute moment
    morning evening afternoon noon idea action activity event fun love attention turn look trip
    visit body total mph pm am th st nd use lots kinds types sides others lap mid sort motion order
    course item items object objects interior exterior trick herd name ride attempt addition
    preparation order purpose condition matter form state surface content view views camera's
""")
"""Nouns of captions that show nothing that could be pointed at."""
