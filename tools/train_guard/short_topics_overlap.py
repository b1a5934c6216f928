# ruff: noqa: E501 - tables of phrases read better as rows
"""Which everyday subjects overlap: there a text of one is never shown as off the other, since that could be wrong."""

from __future__ import annotations

from itertools import combinations

_BESIDE: tuple[tuple[str, ...], ...] = (
    # Food, kitchen, what food is made of.
    ("fruit", "trees and hedges"), ("nuts", "trees and hedges", "woodworking"), ("nuts", "allergies"), ("vegetables", "spices"), ("meat", "seafood"), ("fruit", "vegetables", "alcoholic drinks"),
    ("coffee and tea", "kitchen appliances"), ("coffee and tea", "sleep"), ("seafood", "sea animals", "fishing"), ("meat", "farm animals"), ("cheese", "farm animals"), ("cheese", "pasta and rice"), ("nuts", "sweets"), ("meat", "alcoholic drinks"),
    ("pregnancy", "diets"), ("pasta and rice", "seafood"), ("sweets", "birthdays", "bread"), ("climate change", "meat"), ("fruit", "sweets"), ("meat", "kitchen appliances"), ("insects", "slugs and weeds", "alcoholic drinks"),
    # The household.
    ("furniture", "beds", "lamps"), ("plumbing", "heating"), ("plumbing", "snow and ice"), ("kitchen appliances", "cleaning products"), ("cleaning products", "plumbing", "chemistry"),
    ("tools", "garden equipment", "lawns"), ("tools", "woodworking", "furniture", "trees and hedges"), ("smart home", "heating", "lamps", "carpets and curtains", "vacuum cleaners", "police"), ("furniture", "remote work"), ("furniture", "carpets and curtains"), ("beds", "sleep", "hotels", "camping"), ("beds", "hospitals", "babies", "colds and flu"),
    ("waste and recycling", "kitchen appliances", "beds", "compost and soil", "climate change"), ("cleaning products", "skin"), ("renting", "furniture"),
    # The garden, plants and animals.
    ("lawns", "garden equipment", "compost and soil", "slugs and weeds"), ("lawns", "heat and drought"), ("flowers", "houseplants", "slugs and weeds", "compost and soil", "trees and hedges"), ("houseplants", "beds"), ("flowers", "weddings", "trees and hedges"), ("garden equipment", "rain"), ("garden equipment", "beaches"), ("flowers", "garden equipment"), ("trees and hedges", "garden equipment", "storms"), ("trees and hedges", "allergies", "insects"),
    ("slugs and weeds", "rodents"), ("wild animals", "birds", "insects", "reptiles", "rodents", "sea animals"), ("horses", "farm animals", "birds"), ("cats", "sleep"), ("dogs", "sweets"), ("wild animals", "trees and hedges"), ("farm animals", "compost and soil"), ("fishing", "insects"), ("wild animals", "farm animals"), ("reptiles", "ghosts", "conspiracy theories"),
    # What people wear.
    ("hair", "make-up", "perfume", "skin"), ("tattoos", "jewellery"), ("tattoos", "swimming", "skin"), ("shoes", "laundry", "cleaning products"), ("coats and jackets", "trousers and dresses", "laundry", "luggage"), ("coats and jackets", "rain", "shoes"), ("shoes", "running", "hiking", "skin", "fitness training"), ("shoes", "dance"), ("weddings", "jewellery", "trousers and dresses", "dance"),
    ("sizes", "shoes", "trousers and dresses", "coats and jackets", "jewellery", "beds", "furniture", "luggage", "bicycles"), ("knitting", "trousers and dresses", "coats and jackets", "carpets and curtains", "laundry"), ("eyes and glasses", "make-up"), ("hair", "vacuum cleaners"), ("celebrities", "trousers and dresses", "make-up"), ("dating", "trousers and dresses"), ("job interviews", "trousers and dresses"), ("cruises", "trousers and dresses"), ("tattoos", "celebrities"),
    # Sports.
    ("cycling races", "bicycles", "running"), ("skiing", "snow and ice"), ("swimming", "beaches", "rivers and lakes"), ("running", "fitness training", "boxing and martial arts", "basketball", "football"), ("climbing", "hiking", "fitness training"), ("fitness training", "back pain", "diets"), ("football", "basketball", "tennis"), ("golf", "lawns"), ("running", "charity"), ("skiing", "hiking"), ("swimming", "eyes and glasses"), ("tennis", "golf"), ("cycling races", "running"),
    # Health.
    ("hospitals", "teeth"), ("hospitals", "colds and flu"), ("hospitals", "allergies"), ("hospitals", "back pain"), ("hospitals", "eyes and glasses"), ("hospitals", "vaccinations"), ("hospitals", "skin"), ("hospitals", "pregnancy"), ("hospitals", "mental health"), ("hospitals", "charity"), ("hospitals", "annual leave"), ("hospitals", "police"),
    ("colds and flu", "vaccinations"), ("colds and flu", "allergies"), ("colds and flu", "sleep"), ("sleep", "mental health"), ("sleep", "babies", "teenagers", "pregnancy"), ("sleep", "teeth"), ("allergies", "skin"), ("allergies", "insects"), ("pregnancy", "babies", "baby names"), ("pregnancy", "flights"), ("pregnancy", "vaccinations"), ("back pain", "bicycles"), ("back pain", "trains"), ("skin", "hiking"), ("mental health", "buses and trams", "flights"), ("babies", "teeth"), ("babies", "colds and flu"), ("eyes and glasses", "charity"), ("vaccinations", "visas and passports", "city sights"), ("babies", "diets"), ("mental health", "bosses", "exams"), ("cruises", "hospitals"), ("annual leave", "colds and flu"), ("heat and drought", "skin"), ("beaches", "skin"),
    # Money.
    ("mortgages", "debts", "savings accounts"), ("mortgages", "renting"), ("savings accounts", "pensions", "shares", "mathematics"), ("credit cards", "exchange rates", "payment", "passwords and accounts", "debts"), ("credit cards", "discounts"), ("taxes", "salaries", "pensions"), ("taxes", "invoices", "our prices"), ("taxes", "mortgages"), ("taxes", "savings accounts"), ("taxes", "remote work"), ("taxes", "charity"), ("insurance", "warranty"), ("insurance", "storms", "rain", "police"), ("insurance", "cars"), ("insurance", "pensions"), ("crypto coins", "exchange rates", "collecting stamps and coins", "shares", "passwords and accounts"),
    ("debts", "courts"), ("debts", "payment"), ("debts", "universities"), ("divorce", "mortgages"), ("divorce", "debts"), ("pensions", "layoffs"), ("pensions", "grandparents"), ("exchange rates", "collecting stamps and coins"), ("exchange rates", "politics"), ("savings accounts", "babies"), ("salaries", "savings accounts"), ("teenagers", "savings accounts"), ("company history", "shares"), ("mortgages", "contracts"), ("shares", "politics"), ("renting", "debts"),
    # Family and friends.
    ("weddings", "divorce"), ("weddings", "dating"), ("dating", "friendship"), ("dating", "social networks"), ("dating", "celebrities"), ("dating", "teenagers"), ("divorce", "dating"), ("divorce", "courts"), ("divorce", "contracts"), ("babies", "baby names"), ("babies", "teenagers"), ("grandparents", "birthdays"), ("grandparents", "funerals"), ("grandparents", "knitting"), ("grandparents", "pensions"), ("birthdays", "gift cards"), ("birthdays", "teenagers"), ("birthdays", "babies"), ("annual leave", "babies"), ("weddings", "funerals"), ("weddings", "religion"), ("weddings", "royal families"), ("weddings", "celebrities"), ("friendship", "teenagers"), ("religion", "baby names"), ("funerals", "charity"), ("baby names", "royal families"), ("baby names", "foreign languages"), ("friendship", "birthdays"), ("grandparents", "babies"), ("grandparents", "friendship"),
    # Travel and traffic.
    ("hotels", "cruises"), ("luggage", "flights", "visas and passports"), ("luggage", "cameras"), ("luggage", "hotels"), ("beaches", "rivers and lakes", "cruises"), ("camping", "hiking"), ("camping", "fishing"), ("city sights", "hiking"), ("city sights", "geography"), ("city sights", "buses and trams"), ("cars", "parking", "traffic rules", "camping"), ("motorcycles", "traffic rules", "parking"), ("bicycles", "traffic rules", "motorcycles"), ("trains", "buses and trams"), ("trains", "model trains"), ("trains", "luggage"), ("ships", "cruises", "rivers and lakes", "fishing", "storms"), ("ships", "sea animals"), ("cars", "motorcycles"), ("cars", "batteries and chargers"), ("cars", "snow and ice"), ("traffic rules", "snow and ice"), ("parking", "police"), ("traffic rules", "police"), ("exams", "traffic rules"), ("delivery", "cars"), ("cars", "sizes"), ("flights", "climate change"), ("flights", "conspiracy theories"), ("flights", "volcanoes"), ("hiking", "geography"), ("beaches", "parking"), ("visas and passports", "photography"), ("visas and passports", "immigration"), ("buses and trams", "traffic rules"), ("hotels", "camping"), ("history", "city sights"), ("flights", "delivery"), ("flights", "cruises"), ("police", "bicycles"), ("beaches", "camping"), ("ships", "beaches"), ("ships", "swimming"), ("motorcycles", "rain"),
    # Devices and software.
    ("phones", "batteries and chargers", "laptops and computers", "headphones"), ("phones", "social networks"), ("phones", "home networks"), ("phones", "software updates"), ("laptops and computers", "keyboards and mice", "software updates", "backups", "batteries and chargers"), ("laptops and computers", "home networks"), ("laptops and computers", "video games"), ("laptops and computers", "printers"), ("headphones", "music"), ("headphones", "televisions", "keyboards and mice"), ("televisions", "television", "films", "keyboards and mice"), ("televisions", "video games"), ("smart home", "home networks"), ("smart home", "televisions", "headphones"), ("smart home", "batteries and chargers", "software updates"), ("smart home", "passwords and accounts"), ("smart home", "films"), ("cameras", "photography", "keyboards and mice"), ("cameras", "batteries and chargers"), ("cameras", "social networks"), ("batteries and chargers", "vacuum cleaners", "tools"), ("printers", "photography"), ("keyboards and mice", "batteries and chargers"),
    ("programming", "databases", "websites", "spreadsheets"), ("programming", "mathematics"), ("programming", "software updates"), ("programming", "foreign languages"), ("databases", "backups"), ("websites", "our data protection"), ("websites", "passwords and accounts"), ("websites", "social networks"), ("spreadsheets", "mathematics"), ("spreadsheets", "taxes"), ("passwords and accounts", "email", "home networks", "our data protection"), ("passwords and accounts", "social networks"), ("email", "meetings", "our staff", "gift cards"), ("email", "annual leave"), ("email", "invoices"), ("social networks", "celebrities"), ("social networks", "photography"), ("software updates", "video games", "our roadmap"), ("software updates", "backups"), ("backups", "our data protection"), ("backups", "photography"), ("our data protection", "social networks"), ("our data protection", "email"), ("home networks", "email"), ("remote work", "home networks", "passwords and accounts", "meetings"), ("databases", "our data protection"), ("websites", "payment"), ("websites", "invoices"), ("websites", "home networks"),
    # Law and society.
    ("renting", "contracts"), ("renting", "courts"), ("courts", "police", "contracts", "patents"), ("courts", "layoffs"), ("courts", "immigration"), ("patents", "contracts"), ("patents", "novels"), ("patents", "programming"), ("elections", "politics", "strikes and unions", "conspiracy theories"), ("elections", "history"), ("immigration", "politics", "exams"), ("immigration", "contracts"), ("immigration", "ships"), ("immigration", "strikes and unions"), ("police", "military"), ("police", "novels", "films", "television"), ("military", "history", "politics", "royal families"), ("history", "royal families", "politics", "religion"), ("history", "conspiracy theories"), ("history", "company history"), ("history", "geography"), ("conspiracy theories", "politics", "astronomy", "vaccinations", "ghosts"), ("conspiracy theories", "history", "physics"), ("climate change", "politics", "taxes"), ("climate change", "heat and drought", "snow and ice", "storms", "rain", "rivers and lakes"), ("climate change", "geography"), ("climate change", "chemistry"), ("religion", "ghosts", "funerals", "astrology"), ("religion", "charity"), ("royal families", "celebrities", "politics"), ("charity", "rain"), ("charity", "insurance"), ("ghosts", "funerals"), ("astrology", "astronomy"), ("politics", "contracts"), ("politics", "salaries"), ("politics", "courts"), ("politics", "trains"), ("taxes", "politics"), ("taxes", "courts"), ("police", "layoffs"), ("religion", "birthdays"), ("divorce", "layoffs"),
    # Learning.
    ("mathematics", "physics", "exams"), ("physics", "chemistry", "astronomy"), ("geography", "rivers and lakes"), ("geography", "volcanoes", "earthquakes"), ("geography", "beaches"), ("foreign languages", "spelling and grammar"), ("exams", "universities"), ("spelling and grammar", "email"), ("spelling and grammar", "novels", "poetry"), ("physics", "rivers and lakes"), ("astronomy", "rivers and lakes"), ("universities", "annual leave"), ("mathematics", "exams"), ("poetry", "novels"), ("history", "geography"), ("physics", "storms", "rain"), ("universities", "meetings"), ("universities", "history"), ("foreign languages", "geography"),
    # Work and the company.
    ("salaries", "strikes and unions", "job interviews"), ("salaries", "layoffs"), ("strikes and unions", "layoffs"), ("annual leave", "layoffs", "bosses"), ("remote work", "bosses", "annual leave"), ("meetings", "bosses", "job interviews"), ("bosses", "salaries"), ("bosses", "our staff"), ("bosses", "gift cards"), ("our staff", "layoffs", "meetings", "company history", "job interviews", "bosses", "salaries"), ("our staff", "hotels", "hospitals", "buses and trams", "police", "remote work"), ("our staff", "our data protection"), ("our staff", "opening hours"), ("our staff", "shares", "delivery"), ("competitors", "our prices", "delivery", "our roadmap"), ("competitors", "company history"), ("competitors", "batteries and chargers"), ("our roadmap", "phones", "laptops and computers", "websites", "opening hours", "software updates"), ("our roadmap", "product availability"), ("our prices", "discounts", "payment", "invoices"), ("our prices", "delivery"), ("opening hours", "product availability", "delivery"), ("company history", "opening hours"), ("our data protection", "delivery", "taxes", "birthdays"), ("competitors", "phones"), ("strikes and unions", "trains", "buses and trams", "hospitals"), ("strikes and unions", "waste and recycling"), ("strikes and unions", "politics"),
    # Orders.
    ("delivery", "returns and refunds", "product availability"), ("delivery", "gift cards", "payment", "invoices"), ("returns and refunds", "warranty", "payment", "invoices", "sizes"), ("returns and refunds", "gift cards"), ("discounts", "gift cards", "payment", "delivery"), ("payment", "invoices", "gift cards"), ("warranty", "invoices"), ("product availability", "sizes"), ("product availability", "discounts"), ("cars", "warranty"), ("batteries and chargers", "warranty"), ("returns and refunds", "flights"), ("payment", "salaries"), ("contracts", "returns and refunds"), ("contracts", "warranty"), ("returns and refunds", "credit cards"), ("returns and refunds", "taxes"),
    # Hobbies and arts.
    ("chess", "board games"), ("board games", "card games", "video games"), ("music", "dance", "celebrities"), ("music", "theatre"), ("music", "television"), ("celebrities", "films", "television", "theatre"), ("films", "photography"), ("photography", "painting and sculpture", "celebrities"), ("theatre", "dance"), ("woodworking", "painting and sculpture"), ("model trains", "woodworking"), ("model trains", "painting and sculpture"), ("fishing", "rivers and lakes"), ("painting and sculpture", "rivers and lakes"), ("ghosts", "novels", "films"), ("card games", "video games"), ("poetry", "music"), ("novels", "weddings"), ("poetry", "birthdays"), ("board games", "mathematics"), ("history", "painting and sculpture"), ("history", "novels"), ("television", "video games"), ("poetry", "layoffs"), ("theatre", "royal families"), ("photography", "lamps"),
    # Weather.
    ("rain", "storms", "rivers and lakes"), ("rain", "heat and drought"), ("snow and ice", "storms"), ("snow and ice", "skiing"), ("snow and ice", "hiking"), ("earthquakes", "rivers and lakes"), ("volcanoes", "hiking"), ("heat and drought", "rivers and lakes"), ("snow and ice", "rivers and lakes"), ("volcanoes", "rivers and lakes"), ("rivers and lakes", "plumbing"), ("rain", "plumbing"), ("earthquakes", "lamps"), ("storms", "lamps"), ("sea animals", "rivers and lakes"), ("birds", "rivers and lakes"), ("physics", "earthquakes"), ("insects", "rivers and lakes"), ("storms", "cars"),
    # Further pairs of those above.
    ("trees and hedges", "woodworking"), ("furniture", "woodworking"), ("slugs and weeds", "houseplants"), ("compost and soil", "houseplants"), ("reptiles", "sea animals"), ("farm animals", "birds"), ("make-up", "perfume", "skin"), ("perfume", "skin"), ("trousers and dresses", "laundry", "luggage"), ("rain", "shoes"), ("fitness training", "boxing and martial arts"), ("visas and passports", "flights"), ("parking", "traffic rules"), ("databases", "spreadsheets"), ("ghosts", "astrology"), ("sea animals", "fishing"), ("weddings", "trees and hedges"), ("garden equipment", "slugs and weeds"), ("bosses", "meetings"), ("sleep", "camping"),
)  # fmt: skip
"""A subject, and those that it overlaps with."""
_TOGETHER: tuple[tuple[str, ...], ...] = (
    ("vacuum cleaners", "carpets and curtains", "cleaning products", "laundry"), ("films", "novels", "television", "theatre"),
)  # fmt: skip
"""Subjects of which each overlaps with each."""
OVERLAP = frozenset(
    frozenset(pair)
    for pair in (
        *((first, other) for first, *others in _BESIDE for other in others),
        *(pair for group in _TOGETHER for pair in combinations(group, 2)),
    )
)
"""Pairs of subjects of which a text of one is not surely off the other."""
CLOSE: frozenset[frozenset[str]] = frozenset(map(frozenset, (
    {"food", "household"}, {"food", "animals"}, {"food", "garden"}, {"food", "health"}, {"food", "orders"}, {"food", "hobbies"}, {"food", "travel"}, {"food", "family"}, {"food", "society"}, {"food", "work"},
    {"household", "garden"}, {"household", "clothes"}, {"household", "devices"}, {"household", "orders"}, {"household", "hobbies"}, {"household", "travel"}, {"household", "law"}, {"household", "health"}, {"household", "family"}, {"household", "work"}, {"household", "weather"}, {"household", "money"}, {"household", "animals"},
    {"garden", "animals"}, {"garden", "orders"}, {"garden", "weather"}, {"garden", "hobbies"}, {"garden", "health"}, {"garden", "family"}, {"garden", "society"},
    {"animals", "hobbies"}, {"animals", "travel"}, {"animals", "sports"}, {"animals", "weather"}, {"animals", "law"}, {"animals", "society"}, {"animals", "health"},
    {"clothes", "orders"}, {"clothes", "hobbies"}, {"clothes", "family"}, {"clothes", "work"}, {"clothes", "arts"}, {"clothes", "travel"}, {"clothes", "health"}, {"clothes", "sports"}, {"clothes", "weather"}, {"clothes", "society"}, {"clothes", "animals"},
    {"sports", "hobbies"}, {"sports", "travel"}, {"sports", "arts"}, {"sports", "health"}, {"sports", "traffic"}, {"sports", "weather"}, {"sports", "society"},
    {"health", "family"}, {"health", "work"}, {"health", "travel"}, {"health", "society"}, {"health", "weather"}, {"health", "law"}, {"health", "traffic"},
    {"money", "family"}, {"money", "travel"}, {"money", "work"}, {"money", "orders"}, {"money", "company"}, {"money", "law"}, {"money", "learning"}, {"money", "society"}, {"money", "hobbies"}, {"money", "software"}, {"money", "sports"},
    {"family", "law"}, {"family", "work"}, {"family", "arts"}, {"family", "society"}, {"family", "software"}, {"family", "travel"}, {"family", "money"}, {"family", "learning"}, {"family", "orders"}, {"family", "animals"},
    {"travel", "traffic"}, {"travel", "hobbies"}, {"travel", "law"}, {"travel", "work"}, {"travel", "weather"}, {"travel", "learning"}, {"travel", "orders"}, {"travel", "society"}, {"travel", "company"}, {"travel", "arts"},
    {"hobbies", "arts"}, {"hobbies", "devices"}, {"hobbies", "software"}, {"hobbies", "orders"}, {"hobbies", "learning"}, {"hobbies", "traffic"},
    {"arts", "devices"}, {"arts", "software"}, {"arts", "society"}, {"arts", "learning"}, {"arts", "law"}, {"arts", "work"},
    {"traffic", "weather"}, {"traffic", "orders"}, {"traffic", "law"}, {"traffic", "society"}, {"traffic", "devices"}, {"traffic", "work"}, {"traffic", "company"}, {"traffic", "money"},
    {"devices", "software"}, {"devices", "orders"}, {"devices", "company"}, {"devices", "learning"}, {"devices", "work"}, {"devices", "clothes"},
    {"software", "company"}, {"software", "orders"}, {"software", "work"}, {"software", "learning"}, {"software", "society"}, {"software", "law"},
    {"law", "work"}, {"company", "work"}, {"orders", "work"}, {"orders", "company"}, {"orders", "law"}, {"work", "society"}, {"work", "learning"}, {"weather", "learning"}, {"weather", "society"}, {"weather", "arts"},
)))  # fmt: skip
"""Families of which a text of one may fall under the name of the other."""
_COSTS = r"\b(cost|euro|cheap|fee|price|charg|expensive|worth|paid|pay|hundred|thousand|buy|bought|sell|sold)"
ALSO: dict[str, str] = {
    "money": _COSTS,
    "our prices": _COSTS,
    "payment": r"\b(pay|paid|cash|charg)",
    "discounts": r"\b(cheap|free of|percent|half)",
    "opening hours": r"\b(open|close)",
    "product availability": r"\b(available|sold|discontinued|in the shop|still have|order)",
    "delivery": r"\b(ship|deliver|post|parcel|dispatch|order)",
    "sizes": r"\b(fit|small|large|wide|tight|narrow|too short|too long|centimet)",
    "warranty": r"\b(replac|broke|repair|defect)",
    "returns and refunds": r"\b(swap|money back|back to the shop)",
    "batteries and chargers": r"\b(charg|batter|cordless)",
    "orders": r"\b(order|please|bought|buy|shop|cost|euro|pay|paid|deliver|ship|available)",
    "bosses": r"\bboss",
    "salaries": r"\b(earn|wage)",
    "insurance": r"\b(insur|cover|claim)",
    "cats": r"\b(tomcat|kitten)",
    "teeth": r"\b(tooth|dentist|gum)",
    "hiking": r"\b(walk|trail|path)",
    "photography": r"\b(photo|picture|camera|snapshot|selfie)",
    "films": r"\bfilm",
    "knitting": r"\b(knit|wool|yarn)",
    "competitors": r"\b(switch|other brand|better than)",
    "work": r"\b(work|job|office|colleague|boss)",
    "weather": r"\b(rain|snow|wind|sun|cold|hot|dry|storm|frost|weather)",
    "food": r"\b(eat|ate|drink|drank|food|cook|lunch|dinner|breakfast|cake|meal|tea)\b",
    "garden": r"\b(garden|plant|tree|leaf|leaves)",
    "animals": r"\b(pet|animal|fish|cat|dog)s?\b",
    "travel": r"\b(trip|journey|holiday|travel|abroad)",
    "family": r"\b(famil|child|mother|father|son|daughter|husband|wife|married|friend|aunt|brother|sister|dad|mum)",
    "health": r"\b(hurt|doctor|ill|sick|pain|tired|allerg|health)",
    "traffic": r"\b(drive|drove|driver|car|van|bus|train|road|street|ride|ferry)s?\b",
}
"""Words that make it doubtful, besides the names, whether a text is off a subject or a family."""
EMPTY = frozenset((
    "and", "or", "other", "such", "as", "of", "all", "any", "kinds", "kind", "the", "like", "for", "in", "to", "at", "on", "with", "things", "when", "where", "we", "are", "who", "what", "our", "how", "one", "that", "out", "from", "by", "is", "own", "not", "items",
))  # fmt: skip
"""Words of names that say nothing about the subject."""
