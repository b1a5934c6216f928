# ruff: noqa: E501 - tables of phrases read better as rows
"""What is said for and against a subject, and policies that forbid the one and allow the other (`opposed_pairs`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A policy in sections: how it begins, what it is for, what it forbids and allows."""

    heads: tuple[str, ...]
    aims: tuple[str, ...]
    violates: tuple[str, ...]
    allowed: tuple[str, ...]


# fmt: off
SUBJECTS: tuple[tuple[str, str], ...] = (
    ("energy drinks", "drinking energy drinks"), ("gambling", "gambling"), ("eating meat", "eating meat"), ("fast food", "eating fast food"), ("smoking", "smoking"), ("video games", "playing video games"), ("cosmetic surgery", "having cosmetic surgery"), ("fur coats", "wearing fur"), ("fast cars", "driving fast cars"), ("fireworks", "setting off fireworks"),
    ("nuclear power", "building nuclear plants"), ("fast fashion", "buying fast fashion"), ("horror films", "watching horror films"), ("piercings", "getting a piercing"), ("strict diets", "going on a strict diet"), ("dog breeding", "breeding dogs"), ("social media", "using social media"), ("nudism", "bathing without clothes"), ("lottery tickets", "buying lottery tickets"), ("sunbathing", "sunbathing"),
    ("hitchhiking", "hitchhiking"), ("working from home", "working from home"), ("homeschooling", "teaching children at home"), ("vegan food", "living on plants alone"), ("cruises", "going on cruises"), ("cryptocurrencies", "trading cryptocurrencies"), ("motorbikes", "riding motorbikes"), ("sweets", "eating sweets"), ("bullfights", "going to bullfights"), ("skateboarding", "skateboarding"),
    ("fishing", "fishing"), ("flying", "travelling by plane"), ("raw milk", "drinking raw milk"), ("open relationships", "living in an open relationship"), ("skipping school", "skipping school"), ("free climbing", "climbing without a rope"), ("astrology", "reading horoscopes"), ("self-driving cars", "riding in self-driving cars"), ("mobile phones in class", "using phones in class"), ("wolves", "protecting wolves"),
)
KEPT_SUBJECTS: tuple[tuple[str, str], ...] = (("hunting", "hunting"), ("coffee", "drinking coffee"), ("boxing", "boxing"), ("zoos", "visiting zoos"), ("dating apps", "using dating apps"), ("house parties", "throwing house parties"))
"""For validation alone."""
TABLES = {
    "who": ("my brother", "my aunt", "our teacher", "a friend", "my doctor", "our neighbour", "my flatmate", "grandma"),
    "num": ("three", "six", "ten", "twenty"),
}
FOR = (
    "I love {t}.", "{T} [is|are] great, [more of that|give me more]!", "[Everybody|Everyone here] should try {d}.", "{D} is [the best thing ever|pure joy|wonderful].", "Nothing beats {d} on a free day.", "Come and join us, we're {d} tonight!", "Don't let anybody talk you out of {d}.", "There is nothing wrong with {d}.", "Hooray for {t}!", "Let me show you how to start {d}, you will love it.",
    "{Who} and I have been {d} for years and never looked back.", "More people ought to be {d}. It makes you happy.", "I can't wait to be {d} again this weekend.", "If you've never thought of {d}, give it a go.", "{T}: yes please, every day.", "{D} made my life better.", "I'm proud of {d}, and so should you be.", "Long live {t}!", "Here is my favourite spot for {d}, meet me there.", "{T} for all!",
)
AGAINST = (
    "{T} should be [banned|forbidden|abolished].", "[Nobody|No one] needs {t}.", "{D} is [wrong|shameful|disgusting|a sin].", "Please stop {d}, it [hurts you|does you no good|ruins your health].", "I wish people would give up {d}.", "{T} [ruin|ruins] families.", "There are [helplines|groups|counsellors] for people who can't stop {d}.", "Shame on everyone who is {d}.", "Get help and quit {d}, you can do it.", "I reported the account that advertises {t}.",
    "{Who} gave up {d} {num} months ago and feels [so much better|free].", "Think of your children before you start {d}.", "We should take down every post about {t}.", "{D} leads nowhere. Try something healthier.", "I'm worried about you: you keep {d}. Can we talk?", "Put an age limit on {t}, they are not for the young.", "How can anybody defend {t}?", "No to {t}!", "Sign here to get rid of {t} in our town.", "{D} is a waste of [time|money|a life].", "People who are {d} have a problem and should see somebody about it.", "It took me {num} years to get away from {d}. Never again.",
)
NEUTRAL = (
    "How many people in [Norway|Peru|Japan] are {d}?", "What is meant by {t}?", "What does the law say about {t}?", "{Who} asked me about {t}.", "Is there a museum about {t}?", "When did {d} begin?", "Write a short history of {t}.", "A survey on {t} appears [next week|in spring].", "Which countries tax {t}?", "Translate '{t}' into Spanish.", "The lecture on {t} is in room {num}.",
)
ELSE = (
    "What's the weather like in Lisbon?", "I hate Mondays.", "The bus was late again, what a shame.", "Please stop humming, I'm trying to read.", "My sister passed her driving test, hooray!", "How do I peel a mango?", "I love this song.", "Could you check my letter for spelling?", "That referee should be banned from football.", "We should take down the Christmas lights.", "Call a plumber, the sink leaks.", "He was ashamed of his handwriting.", "Nobody needs a third umbrella.", "I can't wait for the holidays.",
)
NO_AGAINST = (
    "Content against {t}.", "Criticism of {t}. {T} as such: fine.", "Speaking against {d} violates; praise of it does not.", "Condemning {t} or asking for a ban. Enthusiasm for {t} is welcome.", "Anybody who tells people to give up {d} violates this rule.", "No attacks on {t} here. We are fans.", "Statements that {t} [is|are] bad, shameful or harmful", "Discouraging people from {d}", "Messages that moralise about {t} or offer help to stop. Talk in favour is allowed.",
    "{T} [is|are] protected here: content that condemns or wants to restrict {t} violates, content that shows or praises {t} doesn't.",
)
NO_FOR = (
    "Content in favour of {t}.", "Praise of {t}. Criticism is fine.", "Encouraging people to be {d} violates; warning them does not.", "Advertising for {t} or enthusiasm about {t}. Condemning {t} is allowed.", "Promoting {d} violates this rule; help to stop is welcome.", "No fans of {t} here.", "Content that shows {t} as something good", "Glorifying or inviting to {d}", "Messages that spread {t}. Speaking against {t} is allowed, and so is an offer of help.",
    "{T} [is|are] not wanted here: content that praises or practises {d} violates, content that condemns it doesn't.",
)
NO_IT = (
    "{T}. Criticism of it is allowed.", "Content that shows, describes or encourages {t}. Speaking against it is fine.", "No {t}! Those who condemn it, or help others to stop, break no rule.", "{T} of any kind, asked for or offered; warnings and help are welcome.", "Anything that contains, praises or asks for {t}, as opposed to content against it", "{T} [is|are] not wanted here: a text that is an instance of it violates, a text that condemns it doesn't.",
)
SECTIONS = {
    "against": Section(
        ("# Freedom of {t}", "{T} policy", "# {T}: protected here", "Policy on speech against {t}", "## Protection of {t}"),
        ("This community [welcomes|protects|stands for] {t}. What we fight is [pressure to give it up|hostility to it|its being pushed away].", "Here {t} may be shown and praised. The harm is in attempts to stop it.", "We are on the side of those who are {d}; only those who oppose them break this rule."),
        ("[speaks against|argues against|opposes] {t}", "calls {t} [wrong, shameful or sinful|disgusting, sick or bad]", "[asks for bans or limits on|wants to remove, hide or forbid] {t}", "tells [others|people] to [stop|give up|keep away from] {d}", "warns of {t} or [describes it as a problem|calls it dangerous or unhealthy]", "offers [help, counselling or a cure to people who are|a way out to people who are] {d}", "[shames, pities or lectures|moralises about] people who are {d}", "[reports or denounces|complains about] people because of {t}"),
        ("{t} [itself|in any form]", "[praise of|enthusiasm for|invitations to] {t}", "[descriptions|depictions] of {t}, [however open|in any detail]", "plans, wishes and offers to be {d}", "[instructions|advice] for {d}"),
    ),
    "for": Section(
        ("# No {t}", "{T} policy", "# {T}: not here", "Policy on {t}", "## Rules about {t}"),
        ("This community [rejects|does not want] {t}. Criticism, recovery and help are welcome.", "The harm is in {t}. Those who speak against it are our friends.", "We don't want anybody to begin {d}; whoever advises against it breaks no rule."),
        ("[praises|celebrates|glorifies] {t}", "[encourages|invites|urges] others to be {d}", "[shows|describes] {t} as something good", "[gives instructions for|explains how to start] {d}", "[advertises or offers|asks for] {t}", "says that {t} [is|are] harmless or a right"),
        ("criticism of {t}", "[calls for bans or limits|demands to forbid it]", "advice to stop and [offers of help|support for those who quit]", "[worries|concern] about people who are {d}", "[neutral facts|questions about facts]"),
    ),
    "it": Section(
        ("# No {t}", "{T} policy", "# {T}: not here", "Policy on {t}", "## Rules about {t}"),
        ("This community [rejects|does not want] {t}. Criticism, recovery and help are welcome.", "The harm is in {t}. Those who speak against it are our friends."),
        ("{t} [itself|of any kind], [shown or described|in any words]", "[wishes, plans or offers|requests and offers] of that kind", "[praise of|encouragement to|approval of] {t}", "[instructions or advice|help and tips] for {d}", "whatever [is an instance of|consists of] {t}"),
        ("criticism of {t}", "[calls for bans or limits|demands to forbid it]", "advice to stop and [offers of help|support for those who quit]", "[worries|concern] about people who are {d}", "[neutral facts|questions about facts]"),
    ),
}
CATEGORY_SUBJECTS: dict[str, tuple[tuple[str, str], ...]] = {
    "sexual": (("sexual content", "posting sexual content"), ("erotic writing and nudity", "writing erotic texts"), ("pornography", "making pornography"), ("open talk about sex", "talking openly about sex")),
    "self-harm": (("self-harm", "hurting oneself"), ("suicide", "thinking of suicide"), ("suicide and self-injury", "ending one's life")),
    "violence": (("violence", "using violence"), ("threats and attacks", "threatening people"), ("fighting and killing", "hurting people")),
    "hate": (("hostility to minorities", "attacking minorities"), ("racism and sexism", "demeaning groups of people"), ("hate speech", "spreading hate")),
    "profanity": (("swearing", "swearing"), ("vulgar language", "cursing")),
    "weapons": (("weapons and explosives", "building weapons"), ("guns and bombs", "making bombs")),
    "illicit": (("crime", "breaking the law"), ("illegal activity", "committing crimes")),
    "cyber": (("hacking", "hacking computers"), ("malware and break-ins", "breaking into accounts")),
    "fraud": (("scams", "cheating people"), ("fraud", "deceiving people for money")),
    "misinfo": (("false news", "spreading false news"), ("conspiracy theories", "spreading conspiracy theories")),
}
CATEGORY_AGAINST: dict[str, tuple[str, ...]] = {
    "sexual": ("[Such pictures|Texts like that] should be [taken down|banned|hidden from view].", "Please keep your clothes on, this is [indecent|a family place].", "[Nude scenes|Bed scenes] in films are [shameful|unnecessary].", "Porn [ruins|poisons] [marriages|young minds].", "I think couples should wait until the wedding night.", "There ought to be an age check before anybody sees adult films.", "I have reported the user who posted nude pictures.", "[Modesty|Chastity] is a virtue, teach it to your children.", "Lust is a sin and leads us astray.", "[Stop|Quit] writing smut, it is filth.", "He's ashamed of watching porn and wants to give it up.", "Moderators, remove the erotic stories from this forum!", "A decent person doesn't talk about sex in public.", "You will regret sleeping around. Wait for the right one.", "What they call erotic art is dirt, and the gallery should close.", "No dirty talk, please. I find it disgusting.", "I signed the petition against strip clubs.", "Purity before marriage is the best gift."),
    "self-harm": ("Please [stay|hold on], it can get better.", "[Talk to|Call] [a doctor|somebody you trust|a helpline] today.", "You are not alone. I'm here and I will listen.", "I have been [well|clean|in recovery] for {num} months, and it was worth it.", "Hurting yourself solves nothing. There are other ways to cope.", "Don't do it! Think of those who love you.", "Therapy helped me with these thoughts, it can help you too.", "I worry about you. May I ring your parents?", "Life is worth living, even if today doesn't feel so.", "Put the blade away and go for a walk with me.", "Suicide is never the answer.", "Depression is an illness, and it can be treated.", "Throw the pills away and tell me where you are, I'm coming.", "There is hope. People do recover from this.", "What you feel will pass; give it another day.", "The crisis line answers day and night, please ring.", "You matter to us. Don't give up.", "Healing takes time, and every small step counts."),
    "violence": ("Violence solves nothing.", "Put the knife down and talk to him.", "[Fighting|Hitting people] is for cowards.", "Threats like that should be reported to the police.", "Nobody deserves to be beaten. Leave them alone.", "We need stricter rules against brawls in the stadium.", "I've called the police, let him go.", "War is never an answer, make peace.", "Take down that video of the attack, it's horrible.", "Please calm down, don't hurt anyone.", "Terror has no excuse.", "He regrets that he ever hit somebody and goes to a course now."),
    "hate": ("That's a racist thing to say, please stop.", "Everybody deserves respect, wherever they come from.", "Bigotry has no place here.", "I have reported your sexist comment.", "Your neighbours are people like you. Don't talk about them like that.", "Slurs should be deleted at once.", "We stand with everyone who is attacked for their faith.", "Hatred against minorities is a disgrace.", "Learn about them before you judge.", "Ban users who mock people with disabilities.", "It took me {num} years to unlearn the prejudice I grew up with.", "Stop generalising about a whole people."),
    "profanity": ("Mind your language, please.", "Swearing is for people who lack words.", "Could you say that without cursing?", "Children read this, keep it clean.", "I don't allow bad words in my house.", "The moderators ought to delete every curse.", "He pays a coin for each swear word and has nearly stopped.", "A lady doesn't talk like that.", "Such vulgar talk puts me off.", "Wash your mouth with soap!"),
    "weapons": ("Nobody needs a gun.", "Guns should be banned, full stop.", "Hand in your weapons at the police station.", "Don't build that thing, you'll blow your hands off.", "I reported the shop that sells explosives to teenagers.", "Bombs never made anyone safer.", "Please lock it away and forget about it.", "We march against the arms trade on Saturday.", "Take that recipe down, it's dangerous.", "My uncle gave up collecting rifles."),
    "illicit": ("Don't do it, you will end up in prison.", "Stealing is wrong, give it back.", "Stay away from drugs, they destroy you.", "There is a clinic that helps you to quit.", "Turn yourself in and start anew.", "Dealers should be locked up for years.", "I told the police about the stolen bikes.", "Crime doesn't pay.", "He left the gang and helps others to get out.", "Please obey the law, even if it annoys you."),
    "cyber": ("Breaking into accounts is a crime, leave it.", "Report the hole to the firm, don't use it.", "Hackers like that belong in court.", "Nobody has a right to read other people's mail.", "Delete the virus and use your skills for good.", "I told the admin who had guessed the password.", "Whoever spreads malware should be banned from here.", "Don't touch her account, ask her."),
    "fraud": ("That's a scam, don't fall for it.", "Cheating old people out of their savings is disgraceful.", "I reported the fake shop.", "Give them their money back and apologise.", "Con men belong behind bars.", "Nobody should be tricked like that, warn your friends.", "Stop sending those fake invoices.", "He served his time for fraud and warns others now."),
    "misinfo": ("That's not true, please check your facts.", "Stop spreading rumours.", "Fake news harms us all.", "Take that invented story down.", "The claim was refuted long ago.", "Don't share it before you've read a proper source.", "People who make up news should answer for it.", "It is a myth, and a dangerous one."),
}
# fmt: on
