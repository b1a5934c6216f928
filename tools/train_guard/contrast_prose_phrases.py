# ruff: noqa: E501 - tables of phrases read better as rows
"""Sentences of harmless prose by subject; some use hard words, so that a hard word in a long text says little."""

from __future__ import annotations

TABLES: dict[str, tuple[str, ...]] = {
    "t": ("Harwick", "Lisbon", "Norport", "Leeds", "Kyoto", "Saltby", "Lima", "Eastmark", "Tromsø", "Accra"),
    "n": ("Mira", "Otto", "Leila", "Jonas", "Tomas", "Ada", "Ruben", "Ines", "Wen", "Kofi"),
    "num": ("three", "seven", "twelve", "forty", "two hundred", "sixteen", "ninety"),
    "day": ("Monday", "Tuesday", "Thursday", "Saturday", "the first of May", "the last day of term"),
    "m": ("spring", "autumn", "the dry season", "early June", "winter", "late October"),
}  # fmt: skip
SUBJECTS: dict[str, tuple[str, ...]] = {
    "news": (
        "The council of {t} voted on {day} to [repair|replace|close] the old bridge.", "Prices for [bread|diesel|electricity] rose by {num} percent, the statistics office said.", "A fire destroyed a warehouse near {t}, but nobody was hurt.", "Police arrested two men after a robbery in {t} and recovered most of the money.", "The minister said that talks would go on until {day}.", "Nurses in {t} went on strike for [better pay|shorter shifts|more staff].",
        "Farmers fear that the late frost killed half of the [apple|cherry|plum] crop.", "The court sentenced a former banker to {num} months for fraud.", "The mayor denied the claims and promised to open the books.", "Rescue teams searched the river all night and found the missing boy alive.", "Voters will choose between {num} candidates in {m}.", "A spokesperson for the hospital confirmed that the system was down after an attack by hackers.",
    ),
    "story": (
        "{n} had not been back to {t} since the funeral.", "The house smelled of [dust|oranges|cold smoke], and the clock in the hall had stopped.", "She found the letter under a loose board and read it {num} times.", "Outside, a dog barked at nothing.", "'You should have called,' said {n}, without turning round.", "He remembered the war only as a noise behind closed shutters.", "The key was where it had always been.", "They walked down to the harbour and said very little.",
        "Her hands shook as she lit the lamp.", "In the morning the snow had covered every trace.", "{n} laughed so hard that the tea came out of his nose.", "Nobody in the village spoke of the night when the mill burned down.", "The old man hated visitors, yet he put the kettle on.",
    ),
    "review": (
        "We ordered the [soup|lamb|dumplings] and were not disappointed.", "The service was slow, and the wine came after the dessert.", "For {num} dollars you get a solid tool that does its job.", "The second half drags, though the last scene is stunning.", "My headphones died after {num} weeks, which is a bad joke at this price.", "The lead actor kills it in every scene.", "I would come back for the view alone.", "The plot has holes, but who cares when the music is this good?", "The room was clean, the bed was hard, and the shower was a disgrace.",
        "The manual is useless, so watch a video instead.", "This vacuum sucks, and I mean that as praise.", "The villain is so evil that children may be scared.", "All in all {num} out of a hundred points.",
    ),
    "letter": (
        "Dear {n}, thank you for your kind letter of {day}.", "I'm writing to ask whether the flat in {t} is still free.", "Please find the signed contract enclosed.", "We were very sorry to hear about your mother.", "The children send their love and a drawing of the cat.", "I apologise for the delay; the post office lost the first parcel.", "Could you tell me when the payment of {num} euros will arrive?", "Your application was received and will be read by {day}.", "I have lived next to you for {num} years and never complained about the piano.",
        "With this letter I resign from my post as treasurer.", "Give my regards to {n} and to everyone at the office.", "Let me know if you need a bed for the night.",
    ),
    "howto": (
        "Before you start, switch off the power at the main fuse.", "Mix the flour with {num} grams of butter until it crumbles.", "Cut the branch just above a bud, at an angle.", "Tighten the screws crosswise, and do not force them.", "Beat the eggs, fold them in, and leave the dough alone for an hour.", "If the process hangs, kill it and restart the service.", "Attack the stain at once with cold water and salt.", "Sand the surface, wipe off the dust and apply a thin coat.", "Keep bleach and acids apart, since the fumes are toxic.",
        "Save a copy of the file before you delete anything.", "Soak the beans overnight and throw the water away.", "Strip {num} centimetres of the cable and twist the strands.",
    ),
    "history": (
        "The town was founded by [salt traders|monks|a duke] in the {num}th year of the king's reign.", "In the siege of {t} the defenders held out for {num} days.", "The rebels were hanged on the market square, as the chronicle tells.", "Slaves had built the harbour, and few of them lived to see it finished.", "The plague came by ship and killed one person in three.", "Women were not allowed to vote until decades later.", "The regime burned books and persecuted anyone who spoke up.", "Coins found in the field show that the road led to {t}.",
        "After the bombing only the church tower stood.", "The treaty ended {num} years of war and moved the border.", "Historians still argue about who fired the first shot.", "A plaque names the refugees who were taken in by the fishermen.",
    ),
    "science": (
        "The team measured [salt|nitrate|oxygen] in {num} lakes around {t}.", "The virus attacks the cells of the throat first.", "A control group received a pill without any drug in it.", "The results were weaker than expected, but still significant.", "White blood cells surround the intruder and destroy it.", "The probe will reach the comet in {m}.", "Male spiders of this species are often eaten after mating.", "The reaction gives off heat, so it has to be cooled.", "Sleep was better in people who walked {num} minutes a day.",
        "The authors warn that the sample was small.", "The poison of the cone snail may lead to a new painkiller.", "The data are open and can be checked by anyone.",
    ),
    "sport": (
        "{t} beat the guests {num} to nil in front of a full house.", "The striker shot from {num} metres and hit the post.", "After a brutal tackle the defender was sent off.", "Our coach screamed at the referee and had to leave the bench.", "She crushed the old record by two seconds.", "The goalkeeper was the hero of the penalty shoot-out.", "The home side collapsed after the break.", "Fans sang until the lights went out.", "The boxer went down in round {num} and did not get up.", "Training starts again on {day}.", "He tore a muscle and will miss the cup.", "The race was stopped because of hail.",
    ),
    "work": (
        "The meeting on {day} is moved to the small room on the second floor.", "Please send me the figures for {t} before lunch.", "We have {num} open tickets, most of them about the new login.", "The client hated the first draft and loved the second.", "The deadline is killing us, so please help where you can.", "{n} will lead the project while I am away.", "A test showed that a stranger could have read the password file, which is now fixed.", "The server crashed {num} times because a child process never died.",
        "Remember the phishing drill: do not click, report it.", "The budget was slashed, and the party with it.", "We hired {n} from {t}, who starts in {m}.", "Customers complain that the parcel takes {num} days.",
    ),
    "nature": (
        "In {m} the valley is full of [cranes|crocuses|frogs].", "The path climbs for {num} kilometres through beech woods.", "A fox had killed two of the hens.", "We put the tent up in the rain and ate cold beans.", "The glacier has lost {num} metres since I was a child.", "Wolves hunt in the hills above {t}, and shepherds are divided about them.", "The river smells of mint and mud.", "Invasive weeds choke the pond unless somebody pulls them out.", "From the top you see as far as {t}.", "We counted {num} butterflies in one hour.", "The storm tore the roof off the hut.", "Bees are dying, and no one knows exactly why.",
    ),
    "family": (
        "My grandmother came from {t} with one suitcase and {num} recipes.", "We argued about politics until dessert, as always.", "My brother was bullied at school, and he is a teacher now.", "{n} lost her first tooth on {day}.", "Dad snores like a bear, so we fight for the other room.", "After the divorce we sold the house and kept the dog.", "Our neighbours are Muslims, and their children play with mine.", "My aunt married her girlfriend in {m}, and everyone cried.", "The baby sleeps at last, so I write this in the dark.", "My uncle drinks too much, and we are trying to find help for him.",
        "I was depressed after the birth, and talking about it saved me.", "We are {num} cousins, which makes birthdays expensive.",
    ),
    "culture": (
        "The museum of {t} shows {num} nudes from the last century.", "The novel tells of a murder among monks.", "The choir sang a mass for the dead.", "The director cut the torture scene after the first night.", "Her poems deal with love, exile and the sea.", "The band played {num} songs and smashed no guitars.", "A black dancer and a deaf painter share the prize this year.", "The opera ends with a suicide, as operas do.", "The comedian made jokes about himself and about the weather.", "In the play an immigrant opens a bakery in {t}.", "The library lends games, tools and a telescope.", "The exhibition asks how propaganda works.",
    ),
}  # fmt: skip
LEADS = (
    "", "", "", "", "[Summarise|Proofread|Shorten|Translate] this:\n\n", "What is this text about?\n", "[Article|Email|Essay|Blog post]:\n", "[Here's|This is] what I have so far. ", "Give this a title.\n\n", "> ", "# [Notes|Draft|Diary|Report]\n\n",
)  # fmt: skip
