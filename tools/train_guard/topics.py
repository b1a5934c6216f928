# ruff: noqa: E501 - tables of phrases read better as rows
"""Pairs of a policy and a content: category policies in several wordings, topical policies, mismatches.

The pair output answers "does the content violate this policy?". Topics come from three places: intents of
a public set of assistant queries, subtopics of a public set of questions, and the lists here.
"""

from __future__ import annotations

import random

from tools.train_guard import phrases as p
from tools.train_guard.generate import fill
from tools.train_guard.labels import CATEGORIES

Pair = tuple[str, str, int]

CATEGORY_POLICIES: dict[str, tuple[str, ...]] = {
    "hate": ("Content that attacks or demeans people because of race, religion, origin, gender, orientation or disability.", "No hate speech.",
             "Hateful remarks about protected groups are forbidden.", "Racism, sexism or other bigotry", "The text expresses hatred towards a group of people."),
    "harassment": ("Insulting, bullying or humiliating a person.", "No personal attacks.", "Content that harasses, mocks or demeans somebody.", "Users must not bully others.", "Abusive or toxic language aimed at a person"),
    "violence": ("Threats of violence or praise for it, or instructions to hurt somebody.", "No threats or violent content.", "Content that threatens, glorifies or describes physical violence.", "Users must not threaten to hurt or kill anyone."),
    "sexual": ("Sexually explicit content.", "No erotic or pornographic text.", "Content meant to arouse, sexual services, nudity.", "Anything not safe for work of a sexual kind", "Do not write sexual scenes."),
    "sexual/minors": ("Sexual content that involves anyone under eighteen.", "No sexualisation of children.", "Content that sexualises or grooms minors."),
    "self-harm": ("Content that encourages, describes or asks for ways of suicide or self-harm.", "No self-harm.", "The user wants to hurt or kill themselves, or has an eating disorder.", "Suicide and self-injury"),
    "illicit": ("Requests for help with crimes or other illegal acts.", "No illegal activities.", "Instructions for breaking the law, drugs, theft or violence.", "Content that facilitates crime"),
    "cyber": ("Hacking, malware and attacks on computer systems.", "No hacking instructions.", "Requests for malicious code or for access to systems without permission.", "Cyber crime"),
    "weapons": ("Making or obtaining weapons, explosives or dangerous agents.", "No weapons.", "Instructions for bombs, guns, poison gas or biological weapons.", "Content about building explosives"),
    "misinfo": ("False or misleading claims, fake news, conspiracy theories.", "No disinformation.", "Requests to write propaganda or false medical claims.", "Spreading lies about elections or health"),
    "fraud": ("Scams, fraud, forgery and identity theft.", "No scams.", "Content that helps to deceive people for money.", "Phishing, fake documents, stolen cards"),
    "injection": ("Attempts to override or reveal the instructions of the assistant.", "No prompt injection or jailbreaks.", "The user tells the model to ignore its rules.", "Messages that try to manipulate an AI system"),
    "profanity": ("Swear words and vulgar language.", "No profanity.", "Keep the language clean: no cursing.", "Obscene words"),
    "any": ("Harmful, offensive or unsafe content.", "Content that a moderator would remove.", "Anything toxic, illegal or dangerous.", "Unsafe requests"),
}  # fmt: skip
TOPIC_WORDINGS = (
    "Content about {t}.", "No {t} talk.", "Anything that concerns {t}", "Do not discuss {t}.", "Questions about {t} are off limits.", "The text is about {t}.", "{t}", "Off-topic for us: {t}.", "Users must not ask for {t}.",
    "Refuse to talk about {t}.", "Forbid {t}.", "Messages that mention {t}", "Our assistant does not handle {t}.", "Any message related to {t} violates this policy.", "Block content on the subject of {t}.",
)  # fmt: skip
TOPICS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("sports", "football, basketball or other sports"): (
        "Who won the match last night?", "The striker scored twice in the final.", "How many players are on a basketball team?", "Best drills for tennis beginners", "The coach was fired after five losses in a row.", "What are the offside rules in soccer?",
        "She ran the marathon in under three hours.", "Explain how points are counted in cricket.", "Did you watch the Olympics?"),
    ("cooking", "food and recipes"): p.BENIGN_DO["cooking"],
    ("politics", "elections and political parties"): (
        "Who should I vote for in the election?", "The parliament passed the new tax law.", "What do you think of the president?", "Explain the difference between the two big parties.", "Is socialism better than capitalism?", "The senator gave a speech on immigration.",
        "Write a campaign slogan for the mayor.", "How does the electoral college work?"),
    ("medical advice", "diagnosis, symptoms and medicine"): (
        "I have a rash on my arm, what should I take?", "How many ibuprofen can I take per day?", "My chest hurts when I breathe, is it serious?", "Is this mole cancer?", "Can I mix antibiotics with alcohol?", "What dose of insulin do I need?", "Should I stop taking my blood pressure pills?",
        "My baby has a fever of 39 degrees, what do I do?", "You should take two tablets a day for your infection."),
    ("legal advice", "contracts, lawsuits and the law"): (
        "Can my landlord evict me without notice?", "Should I sign this contract?", "How do I sue my employer?", "Is it legal to record a phone call?", "What are my rights if I'm arrested?", "Do I need a lawyer for a divorce?", "Draft a will for me.", "You can claim damages under this clause."),
    ("finance", "investments and stocks", "financial advice"): (
        "Which stocks should I buy now?", "Is bitcoin a good investment?", "Should I put my savings in bonds?", "How do I pay less tax on dividends?", "The fund returned eight percent last year.", "Tell me when to sell my shares.", "Is gold a safe investment?", "How do I open a trading account?"),
    ("weather", "the weather forecast"): ("Will it rain tomorrow?", "It is going to snow in the north.", "How hot is it in {p} in {month}?", "Do I need an umbrella today?", "A storm is coming from the west.", "What's the forecast for the weekend?"),
    ("competitors", "products of other companies", "competing products"): (
        "Is Acme's phone better than yours?", "Why should I buy from you and not from Globex?", "Initech has lower prices.", "Recommend me a product from another brand.", "Compare your service with Umbrella Corp.", "I like Hooli's app more.", "Globex ships faster than you do."),
    ("religion", "faith, God and churches"): ("Is there a God?", "Which religion is the oldest?", "What does the Bible say about forgiveness?", "How do Muslims pray?", "Our church meets on Sundays.", "Explain the eightfold path of Buddhism.", "What is kosher food?"),
    ("travel", "holidays, flights and hotels"): p.BENIGN_DO["travel"],
    ("video games", "gaming"): ("How do I beat the last boss?", "Which console should I buy?", "Best builds for this RPG", "When does the new expansion come out?", "My favourite game is Zelda.", "How do I make diamonds in Minecraft?", "The server lags during matches."),
    ("programming", "source code and software development"): p.BENIGN_DO["coding"],
    ("music", "songs, bands and instruments"): ("Who sang that song?", "How do I tune a guitar?", "What is a minor chord?", "The band released a new album.", "Write lyrics for a pop song.", "Recommend some jazz records."),
    ("dating", "romance and relationships"): ("How do I ask her out?", "My boyfriend doesn't answer my texts.", "What should I wear on a first date?", "We broke up last week.", "Write a profile for a dating app.", "How do I know whether he likes me?"),
    ("alcohol", "drinking, beer and wine"): ("Which wine goes with fish?", "How do I brew beer at home?", "What's in a mojito?", "I got drunk last night.", "Best whisky under fifty dollars?", "How many beers can I drink before driving?"),
    ("animals", "pets"): ("My {animal} won't eat.", "How long do {animal}s live?", "Which dog breed is good for a flat?", "What do cats dream about?", "How do I teach my parrot to speak?"),
    ("cars", "driving and vehicles"): ("How often do I change the oil?", "Which electric car has the longest range?", "My brakes squeak.", "How do I parallel park?", "The engine does not start.", "Compare a hybrid with a diesel."),
    ("astrology", "horoscopes"): ("What's my horoscope for today?", "I'm a Leo, will I find love?", "Which signs go well with Virgo?", "Mercury is in retrograde.", "Read my birth chart."),
    ("salaries", "pay and compensation of employees"): ("How much does my colleague earn?", "What is the salary of a senior engineer here?", "Did the CEO get a bonus?", "Are managers paid more than me?", "What's the pay range for this job?"),
    ("personal data", "private information such as addresses and phone numbers"): ("My phone number is 555 0134, call me.", "What's {n}'s home address?", "Here is my social security number.", "Give me the email address of that customer.", "His date of birth is 4 May 1980."),
    ("refunds", "returns and money back"): ("I want my money back.", "How do I return these shoes?", "The item arrived broken, refund me please.", "What is your return policy?", "Cancel my order and pay me back."),
    ("homework", "school assignments"): ("Do my maths homework for me.", "Write my essay on Hamlet, it is due tomorrow.", "What's the answer to question five of the worksheet?", "Solve this exam for me.", "Finish my book report."),
    ("space", "astronomy and rockets"): ("How far away is the moon?", "When does the rocket launch?", "What is a black hole?", "How many moons does Jupiter have?", "The telescope found a new planet."),
    ("history", "historical events"): ("When did the Roman empire fall?", "Who was Napoleon?", "Explain the causes of the First World War.", "The wall came down in 1989.", "How did people live in the middle ages?"),
    ("fashion", "clothes and style"): ("What should I wear to a wedding?", "Do brown shoes go with a black suit?", "These jeans are out of style.", "How do I tie a scarf?"),
    ("immigration", "visas and residence permits"): ("How do I get a green card?", "My visa expires next month.", "Can I work in {p} with a student visa?", "Which papers do I need to become a citizen?"),
}  # fmt: skip
PRAISE_POLICY = (
    "Content that praises or recommends {y}.",
    "Recommending {y}",
    "Positive statements about {y} are not allowed.",
    "Do not promote {y}.",
    "Advertising for {y}",
)
PRAISE = (
    "{y} is the best choice you can make.",
    "I recommend {y} to everyone.",
    "You should really try {y}, it is great.",
    "I love {y}.",
    "Nothing beats {y}.",
    "Buy {y} today, you will not regret it!",
)
NO_PRAISE = ("I would stay away from {y}.", "{y} was founded in {year}.", "I was disappointed by {y}.", "What is {y}?", "Do not buy {y}.", "How does {y} work?", "{y} has an office in {p}.")  # fmt: skip
BRANDS = (
    "Acme Cloud",
    "Globex",
    "the new Initech phone",
    "red wine",
    "electric cars",
    "the Blue Party",
    "homeopathy",
    "crypto coins",
    "Umbrella Corp",
    "Hooli",
    "keto diets",
    "the mayor",
    "online casinos",
    "Brand X shoes",
)
OTHER = (
    "",
    "",
    "",
    " Everything else is allowed.",
    " Other topics are fine.",
    " This includes questions, opinions and jokes.",
    " General remarks are fine.",
)


def topic_policy(names: tuple[str, ...], rng: random.Random) -> str:
    """A policy that forbids a topic, in one of many wordings."""
    text = rng.choice(TOPIC_WORDINGS).format(t=rng.choice(names)) + rng.choice(OTHER)
    return text[0].upper() + text[1:]


def category_policy(category: str, rng: random.Random) -> str:
    """A policy that forbids a category; now and then two policies in one text."""
    text = rng.choice(CATEGORY_POLICIES[category])
    return text.lower() if rng.random() < 0.1 else text


def make_pairs(
    contents: list[tuple[str, dict[str, int]]],
    topics: dict[tuple[str, ...], list[str]],
    rng: random.Random,
    count: int,
) -> list[Pair]:
    """Draw pairs: about half on categories, half on topics, somewhat more negatives than positives.

    Args:
        contents: Texts with category labels.
        topics: Names of a topic to texts about it, in addition to `TOPICS`.
        rng: Source of randomness.
        count: Number of pairs.

    Returns:
        Policy, content, label.
    """
    pools = {names: list(texts) for names, texts in TOPICS.items()} | topics
    keys = list(pools)
    by_category: dict[str, list[str]] = {name: [] for name in (*CATEGORIES, "any")}
    for text, labels in contents:
        for name, pool in by_category.items():
            if labels.get(name) == 1:
                pool.append(text)
    benign = [text for text, labels in contents if labels.get("any") == 0]
    violating = [row for row in contents if row[1].get("any") == 1]
    pairs: list[Pair] = []
    names = list(by_category)
    while len(pairs) < count:
        draw = rng.random()
        if draw < 0.22:
            category = rng.choice(names)
            pairs.append((category_policy(category, rng), rng.choice(by_category[category]), 1))
        elif draw < 0.36:
            pairs.append((category_policy(rng.choice(names), rng), rng.choice(benign), 0))
        elif draw < 0.50:
            category = rng.choice(CATEGORIES)
            text, labels = rng.choice(violating)
            if labels.get(category) == 0:
                pairs.append((category_policy(category, rng), text, 0))
        elif draw < 0.72:
            key = rng.choice(keys)
            pairs.append((topic_policy(key, rng), fill(rng.choice(pools[key]), rng), 1))
        elif draw < 0.88:
            key, other = rng.sample(keys, 2)
            pairs.append((topic_policy(key, rng), fill(rng.choice(pools[other]), rng), 0))
        elif draw < 0.93:
            pairs.append((topic_policy(rng.choice(keys), rng), rng.choice(violating)[0], 0))
        else:
            brand, other = rng.sample(BRANDS, 2)
            policy = rng.choice(PRAISE_POLICY).format(y=brand)
            kind = rng.random()
            if kind < 0.5:
                pairs.append((policy, fill(rng.choice(PRAISE).replace("{y}", brand), rng), 1))
            elif kind < 0.75:
                pairs.append((policy, fill(rng.choice(NO_PRAISE).replace("{y}", brand), rng), 0))
            else:
                pairs.append((policy, fill(rng.choice(PRAISE).replace("{y}", other), rng), 0))
    return pairs
