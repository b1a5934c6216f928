# ruff: noqa: E501 - tables of phrases read better as rows
"""Everyday subjects of short policies: traffic, devices, software, law, learning, work, the company, orders, society, weather."""

from __future__ import annotations

from tools.train_guard.short_topics_phrases import Family, Subject

TRAFFIC = Family("traffic", ("vehicles and traffic", "transport", "traffic and transport"), (
    Subject(("cars", "cars and car repairs", "automobiles"), (
        "When do I change the [oil|timing belt]?", "The [clutch|gearbox] grinds in second.", "A used estate with {num} seats, first owner.", "{n} locked the keys in the boot.", "How far does the electric hatchback get on one charge?", "It starts, then the engine coughs and dies. The garage in {t} changed the spark plugs, which made no difference.", "Does the saloon come with heated seats?", "The windscreen has a crack.", "Winter tyres from October on.", "The handbrake does not hold on the slope."),
        ("He is the driving force of the choir.", "It put the brakes on our plans.", "The scarf came in the mail.")),
    Subject(("bicycles", "bicycles and bike repairs", "bikes"), (
        "How do I patch a [tube|tyre] on the road?", "The chain slips in the highest gear.", "Which frame size for 180 centimetres?", "{n} rides to work in any weather.", "My saddle is too low, my knees hurt.", "The e-model has a range of {num} miles and a basket in front. On hills it pulls well, but it is heavy to carry up the stairs.", "Is a hub gear better than a derailleur?", "A puncture again, the third since {day}.", "The handlebars creak.", "Helmet or no helmet, what's the rule for cyclists?"),
        ("The economy moves in cycles.", "On your bike, mate, we're closed!", "I can't handle this noise.")),
    Subject(("trains", "trains and railways", "rail travel"), (
        "Does the [express|sleeper] stop in {t}?", "Ours left platform {num} on time for once.", "The conductor fined me although I had a ticket.", "Which carriage has the dining car?", "{n} missed the last one home.", "Signal failure, then a tree on the line, then no driver. For {num} hours we stood outside the station.", "Is the railcard valid on {day}?", "A seat by the window facing forward, please.", "The locomotive is from 1911.", "How many minutes to change at the junction?"),
        ("She trains the new clerk.", "He was on the right track with his guess.", "They railed against the new rules.")),
    Subject(("buses and trams", "buses, trams and the underground", "public transport in town"), (
        "Which [line|number] goes to the hospital?", "The number {num} never comes after nine.", "Press the button if you want to get off at the next stop.", "{n} left the umbrella on the tram.", "Is a day pass cheaper than {num} singles?", "The underground was so full that I let two go by. Upstairs the replacement bus had just left.", "Do dogs ride free on the metro?", "The driver shut the door in my face.", "A monthly pass for zone A.", "When does the night service start?"),
        ("The pupil bused the dishes at the café.", "Stop it, both of you!", "Their music comes from the underground scene.")),
    Subject(("motorcycles", "motorcycles and scooters", "motorbikes"), (
        "Which licence for a [125|scooter]?", "The exhaust is too loud for a test.", "A twin cylinder with {num} horsepower, matt black.", "{n} leans into every bend.", "My visor fogs up in the rain.", "We went over the pass in a group of {num}, leathers and all. On the way down my rear tyre slid, but I caught it.", "How do I oil the chain of my chopper?", "A moped does forty-five at most.", "Where does the pillion rider hold on?", "The sidecar has its own wheel brake."),
        ("The kids scooted over to make room.", "Her helmet of hair did not move in the wind.", "The theft of data is a cycle.")),
    Subject(("ships", "ships, boats and ferries", "boats"), (
        "How long does the ferry to the island take?", "The [tanker|freighter] ran aground near {t}.", "Reef the sail before the gust comes.", "{n} rows a wooden dinghy on the canal.", "What is starboard, left or right?", "The captain dropped anchor in the bay. We checked the hull, pumped out the bilge and mended the mast.", "Can I moor here overnight?", "The tug pulled the barge upstream.", "Do I need a licence for an outboard of {num} horsepower?", "The lighthouse warned the schooner off the reef."),
        ("We're all in the same boat with this deadline.", "The parcel ships on {day}.", "That friendship broke up last year.")),
    Subject(("parking", "parking and car parks"), (
        "Where can I leave my van near the [museum|station]?", "I got a ticket for standing {num} minutes too long.", "Is the multi-storey open at night?", "Residents' permits cost {num} euros.", "{n} was clamped outside the bakery.", "Someone blocked my bay, so I circled for half an hour. In the end I stood at the kerb with the hazards on.", "How do I park parallel on a hill?", "The meter takes no notes.", "A disabled space is not for you.", "Two hours free with a disc."),
        ("The children play in the park.", "Let's park that question until {day}.", "The dog park is closed.")),
    Subject(("traffic rules", "traffic rules and driving licences", "rules of the road"), (
        "Who goes first at a [crossroads|roundabout]?", "I was flashed doing {num} over the limit.", "What does a blue round sign with an arrow mean?", "{n} failed the theory test.", "Is overtaking on the right allowed on motorways?", "At the crossing the lights were out, so the one from the right has priority. He didn't know that and hooted.", "How many points for running a red light?", "Indicate before you change lane.", "She lost her licence for {num} months.", "What's the limit in a built-up area?"),
        ("The site gets a lot of traffic from search.", "He gave the budget the green light.", "It was the road to ruin for the bank.")),
))  # fmt: skip

DEVICES = Family("devices", ("electronics", "electronic devices", "electronic gadgets"), (
    Subject(("phones", "smartphones and mobile phones", "mobile phones"), (
        "My [screen|display] cracked when I sat on it.", "Does the SIM fit in the older handset?", "How do I switch off roaming on my mobile?", "{n} drops her handset once a week.", "The ringtone is far too quiet.", "It has two SIM slots, a good microphone and gets no reception in my cellar. The older handset did better.", "Is the new Norphone waterproof?", "Text messages arrive {num} hours late.", "My contract has {num} gigabytes a month.", "Swipe up to answer the call."),
        ("The actor phoned in his performance.", "Roaming wolves were heard at night.", "The cell wall of plants is thick.")),
    Subject(("laptops and computers", "laptops, computers and tablets", "PCs and notebooks"), (
        "How much RAM do I need, {num} or {num}?", "The fan roars as soon as I open two programs.", "The lid of my notebook doesn't close.", "{n} spilled water on hers, and now it won't boot.", "Which processor is quieter?", "It weighs a kilo, wakes up at once and has a matt fourteen-inch panel. The trackpad is too small for my hands.", "Can the solid-state drive be swapped?", "A blue screen again, with error {num}.", "The hinge of my ultrabook squeaks.", "Desktop tower or a mini PC?"),
        ("She wrote it down in a paper pad.", "His lap was full of crumbs.", "A human computer, they called the boy who multiplied in his head.")),
    Subject(("headphones", "headphones and loudspeakers", "earbuds and speakers"), (
        "Do the [earbuds|over-ears] cancel noise?", "The left bud is silent.", "My soundbar crackles at low volume.", "{n} lost one bud on the train.", "Closed or open cans for mixing?", "The cushions are soft and the bass is deep, but after {num} hours my ears get hot. The cable can be unplugged.", "How do I pair them with two sources?", "The subwoofer shakes the wall.", "Wireless, with a case that charges them.", "Are they loud enough for the patio?"),
        ("The speaker of the house banged the gavel.", "He turned a deaf ear to my plea.", "The buds on the rose are closed.")),
    Subject(("televisions", "televisions and projectors", "TV sets"), (
        "Is sixty inches too large for {num} metres away?", "The remote has no mute button.", "A dark stripe runs through the picture of my set.", "{n} mounted the flat screen on the wall.", "OLED or LCD for a bright room?", "The set turns itself off after a few minutes. I updated it, pulled the plug and changed the cable, with no luck.", "Does it have {num} HDMI ports?", "The beamer needs a dark room.", "Black levels are superb.", "Can I connect an aerial to it?"),
        ("A remote village without a road.", "His views are black and white.", "The bathroom screen keeps the water in.")),
    Subject(("cameras", "cameras and lenses", "camera equipment"), (
        "Does the [zoom|macro] fit on my older body?", "The shutter is stuck half open.", "Mirrorless, {num} megapixels, two card slots.", "{n} dropped the telephoto in the sea.", "How do I clean the sensor?", "The viewfinder is bright and the grip feels right, but the autofocus hunts in dim light. I returned it.", "Is the webcam any good at night?", "The hot shoe takes any flash unit.", "A fifty millimetre prime for beginners.", "What's the difference between full frame and APS-C?"),
        ("The hearing was held in camera.", "Look at it through the lens of history.", "Zoom out on the map to see the river.")),
    Subject(("printers", "printers, ink and scanners"), (
        "Why does it print [stripes|blank pages]?", "The cartridge is empty after {num} pages.", "Paper jam in tray two.", "{n} ordered toner for the wrong model.", "Does the scanner do both sides?", "The laser one on floor three is offline. I restarted it, but the queue still shows {num} jobs.", "How do I clean the nozzles?", "Magenta is missing in all my copies.", "An inkjet dries up if you never use it.", "Can it copy on A3?"),
        ("The novel is out of print.", "Read the fine print of the contract.", "The doctor ordered a scan of the knee.")),
    Subject(("keyboards and mice", "keyboards, mice and monitors", "computer accessories"), (
        "The [Enter|Shift] key sticks.", "Left-handed, {num} buttons, cordless.", "My pointer jumps across the monitor.", "{n} types on a mechanical one, you hear it two rooms away.", "Does the docking station drive {num} monitors?", "The scroll wheel squeaks and double-clicks when I click once. I opened it and cleaned the contacts.", "Are the caps backlit?", "Which layout has the umlauts?", "A wrist rest of gel.", "The webcam cover fell behind the monitor."),
        ("The monitor lizard basked on a rock.", "There's a mouse behind the flour.", "The key to success is sleep.")),
    Subject(("batteries and chargers", "batteries, chargers and power banks", "charging"), (
        "How long does a full charge take?", "The [AA|button] cells leaked.", "Does the cable support {num} watts?", "My accumulator swells, is that dangerous?", "{n} never finds a free socket for her plug.", "The power bank weighs little and fills my handset {num} times. It gets hot if you use both ports.", "Which adapter for sockets in England?", "Lithium packs don't like frost.", "It's down to {num} percent again.", "Can I leave it plugged in overnight?"),
        ("He was charged with theft.", "Dr. {n} is in charge of the ward.", "They faced a battery of questions.")),
    Subject(("smart home", "smart home devices", "voice assistants and smart home devices"), (
        "How do I add the [doorbell|thermostat] to the hub?", "The blinds go down by themselves at {num}.", "The speaker obeys {n} but not me.", "Does the lock open by fingerprint?", "Turn on the heater by voice.", "I set a scene so that the lamps dim and the shutters close when the film begins. After the update none of it works.", "Is Zigbee better than WLAN for sensors?", "The motion detector sees the cat.", "Which bridge do I need for {num} sockets?", "Can burglars hack the connected door lock?"),
        ("Smart shoes, said the doorman.", "She is a smart girl and reads a lot.", "The town is a hub of trade.")),
))  # fmt: skip

SOFTWARE = Family("software", ("software and the internet", "computer software and online services", "IT and the internet"), (
    Subject(("programming", "programming and source code", "coding"), (
        "Why does my loop never end?", "The [compiler|linter] complains about line {num}.", "Rename the function and add a unit test.", "{n} pushed straight to main.", "How do I reverse a list in Python?", "I get a null pointer in the second call, but only in release mode. Here is the stack trace, {num} lines long.", "What is recursion?", "Merge the branch after the review.", "Write a class with a getter.", "A variable was never initialised."),
        ("The dress code is black tie.", "The theatre programme lists all singers.", "He broke the building code with that porch.")),
    Subject(("databases", "databases and SQL"), (
        "How do I join [two|three] tables without doubles?", "The index made my query {num} times faster.", "Roll back the transaction.", "{n} dropped the customers table.", "What's a foreign key?", "The dump is forty gigabytes, and the restore breaks off after {num} hours with a lock timeout. Replication is off.", "Is Postgres better for JSON?", "Normalise it to third form.", "SELECT name FROM users WHERE age > 30;", "Which column should be the primary key?"),
        ("Set the table for {num}, please.", "Bathroom key is at the counter.", "The column in the paper was funny.")),
    Subject(("websites", "websites and web design"), (
        "How do I centre a [button|box] with CSS?", "Our landing page loads in {num} seconds.", "The menu vanishes on narrow screens.", "{n} registered the domain.", "Which font is good for headings on a homepage?", "Visitors leave at the third step of the form. We should cut fields, make the button larger and drop the pop-up.", "What does a 404 mean?", "The cookie banner covers everything.", "Hosting costs {num} euros a month.", "Is our certificate for https still valid?"),
        ("The spider spun its web in the hall.", "The excavation site is closed.", "The cookies in the jar are gone.")),
    Subject(("spreadsheets", "spreadsheets and formulas", "spreadsheet programs"), (
        "How do I sum only the [red|empty] cells?", "Column D shows ##### instead of numbers.", "Write a formula that looks up the value in sheet {num}.", "{n} hid the rows.", "A pivot table by month, please.", "I dragged the formula down, and the reference moved with it. Put a dollar sign before the row, then it stays.", "What's wrong with =SUM(A1:A{num})?", "Freeze the top row.", "The macro sorts the whole workbook.", "How do I make a bar chart from columns B and C?"),
        ("The formula of ethanol is on page two.", "Change the bed sheets.", "The prisoner sat in his cell.")),
    Subject(("passwords and accounts", "passwords and logins", "logging in"), (
        "I forgot mine, how do I reset it to sign in?", "Two-factor codes arrive too late.", "At least twelve characters, one of them a digit.", "{n} is locked out after {num} tries.", "Is a passphrase safer than random letters?", "The link in the mail has expired, and the new one leads back to the sign-in page. I'm going round in circles.", "Which manager stores my credentials?", "Sign in with a passkey.", "Don't write it on a note under the keyboard.", "My user name is already taken."),
        ("Log the trees before winter.", "Open sesame is a line from a tale.", "The ship's log was found.")),
    Subject(("email", "email and newsletters", "e-mails"), (
        "Why do my messages land in spam?", "Put {n} in copy, please.", "The attachment is over {num} megabytes.", "How do I set an out-of-office reply?", "My inbox has {num} thousand unread.", "I hit reply to all by mistake and the whole firm got my lunch order. Can it be recalled?", "Unsubscribe me from this list.", "The subject line should be short.", "Sent from my mobile, sorry for typos.", "Which server settings for IMAP?"),
        ("The postman brought three letters.", "The knight wore chain mail.", "The attachment between mother and foal is strong.")),
    Subject(("social networks", "social media", "social networks and posts"), (
        "How do I get more followers?", "My reel had {num} thousand views.", "{n} blocked me after that thread.", "Which hashtag for our campaign?", "Likes are hidden now.", "I posted a photo, it went viral overnight, and by {day} strangers argued in the comments about my wallpaper.", "Can I delete my profile for good?", "The feed shows nothing but ads.", "Someone copied my profile and writes to my followers.", "Pin the story to the top."),
        ("Follow the river to the mill.", "The goalkeeper hit the post.", "Social housing is scarce in {t}.")),
    Subject(("software updates", "updates and installing software", "installation of programs"), (
        "After version {num} the app no longer starts.", "How do I roll back the patch?", "Setup stops at ninety percent.", "{n} has put off the restart for {num} weeks.", "Is the new release stable?", "I uninstalled it, deleted the folder and ran the installer as administrator. It still asks for a missing library.", "Where do I turn off automatic upgrades?", "The changelog lists {num} fixes.", "Download the driver and reboot.", "Does it run on an older system?"),
        ("The art installation fills two rooms.", "Any update on your sister's exam?", "He wears an eye patch.")),
    Subject(("backups", "backups and data recovery", "data backup"), (
        "How do I restore the folder from [last week|{day}]?", "The external disk makes clicking sounds.", "Three copies, two media, one off site.", "{n} lost {num} years of photos.", "Is the cloud copy encrypted?", "The nightly job failed {num} times without telling anybody. When the server died, the newest snapshot was from {month}.", "Can deleted files be recovered from a card?", "Incremental or full every night?", "Tapes go into the safe.", "Test a restore before you need one."),
        ("The backup singers wore blue.", "Back up a bit, the gate opens outwards.", "A mirror hangs in the hall.")),
    Subject(("home networks", "Wi-Fi and routers", "internet connection"), (
        "Why is the signal so weak [upstairs|in the attic]?", "The router blinks red.", "We get only {num} megabits instead of a hundred.", "{n} changed the key of the guest WLAN.", "How do I open a port?", "The line drops every evening at {num}. The provider sent a technician, who swapped the modem and left.", "Fibre or cable, what's better?", "A repeater on the landing helped.", "Which channel is free of interference?", "Ping is at {num} hundred."),
        ("Her network of informants was large.", "The cable car goes up every hour.", "He ports the casks to the cellar.")),
))  # fmt: skip

LAW = Family("law", (), (
    Subject(("renting", "renting flats and landlords", "tenancy"), (
        "May my landlord raise it by {num} percent?", "The deposit was never paid back.", "How much notice must I give for my flat?", "{n} sublets the small room.", "Are pets allowed under the tenancy?", "The utility bill for last year came to {num} hundred, and nobody explains how it was split among the tenants.", "Can I be evicted in winter?", "Who pays for small repairs, the tenant or the owner?", "The flat is let from {month}, cold rent plus extras.", "I signed the lease on {day}."),
        ("A rent in the curtain.", "The lessons were lively.", "Let me see the recipe.")),
    Subject(("courts", "courts, judges and trials"), (
        "What's the difference between a judge and a magistrate?", "The [jury|bench] was out for {num} hours.", "The witness changed her statement.", "{n} was called for jury duty.", "Objection, your honour!", "The verdict was read at noon: not guilty. The prosecutor will appeal, and the file goes to the higher chamber.", "When is the hearing?", "How do I sue in small claims?", "The defendant kept silent.", "He was sentenced to community service."),
        ("The tennis court is wet.", "Don't judge a book by its cover.", "He courted her for a year.")),
    Subject(("patents", "patents and copyright", "intellectual property"), (
        "Can I protect [a recipe|an algorithm]?", "The claim is too broad, says the examiner.", "How long does copyright last after death?", "{n} filed {num} inventions this year.", "Is this logo a registered mark?", "Someone sells copies of my pattern. I never registered it, but I have dated drawings and {num} witnesses.", "What is fair use of a quotation?", "Prior art from 1988 was found.", "A licence for the trademark costs {num} thousand.", "Who owns what employees invent?"),
        ("Patent leather needs no polish.", "The copy machine is warm.", "That is patently absurd.")),
    Subject(("elections", "elections and voting"), (
        "Where is my polling station?", "Turnout was {num} percent lower.", "How do I vote by post?", "{n} counts ballots in {t}.", "The candidates debate on {day}.", "First come the paper slips, then the machine count, then the recount. By dawn the mayor was ahead by {num}.", "What is a runoff?", "Constituencies were redrawn.", "Can sixteen-year-olds cast a ballot?", "The exit poll was wrong."),
        ("He took electives in German.", "The pole of the tent broke.", "Running mate wanted for the park at six.")),
    Subject(("immigration", "immigration and asylum", "immigrants and refugees"), (
        "How long until a [refugee|newcomer] may work here?", "His application for asylum was turned down.", "The citizenship test has {num} questions.", "{n} fled with {num} children.", "Can my wife join me here for good?", "They came across the strait in a rubber boat and wait in a hostel for papers. The interview is in {month}.", "What is a residence permit worth?", "The quota for newcomers was cut.", "Naturalised after {num} years.", "Deportations were stopped by a judge."),
        ("The geese migrate in October.", "We migrated the server last night.", "The settlers of the board are wooden.")),
    Subject(("police", "police and police work"), (
        "How do I report a stolen [bike|purse] to the officers?", "A patrol stopped {n} near {t}.", "The sergeant took our statements.", "May an officer search my bag?", "Dial the emergency number and stay calm.", "They cordoned off the street, took fingerprints and asked the neighbours. By evening the detectives had a suspect.", "Was anybody arrested?", "The constable wrote a report.", "A riot squad stood at the corner.", "He joined the force at nineteen."),
        ("Tone police, she called her critics.", "The cop-out was obvious.", "He patrolled the fridge at night.")),
    Subject(("military", "the army and the armed forces", "soldiers and the military"), (
        "How long is basic training for [recruits|conscripts]?", "The [battalion|brigade] moved north.", "{n} served {num} years as a corporal.", "A tank column crossed the bridge.", "Is there still conscription in Norway?", "The general inspected the barracks, found dust on a rifle and cancelled everyone's leave. We marched until dusk.", "What rank is above a major?", "Navy jets trained over the gulf.", "The veterans meet on {day}.", "Medals for the paratroopers."),
        ("An army of ants crossed the path.", "The major problem is time.", "That's a private matter.")),
    Subject(("contracts", "contracts and terms", "contract law"), (
        "Is a handshake binding?", "Clause {num} is void, I think.", "Both parties signed on {day}.", "What is the penalty for breach of our agreement?", "{n} wants to add an annex.", "It renews by a year unless you give notice {num} months before the term ends. That's in clause nine, in grey.", "Can I withdraw within fourteen days from what I signed?", "The terms and conditions are thirty pages long.", "Force majeure covers floods.", "Do we need a witness for the signature?"),
        ("Muscles contract when it's cold.", "In terms of colour, blue wins.", "He contracted measles.")),
))  # fmt: skip

LEARNING = Family("learning", (), (
    Subject(("mathematics", "maths", "maths problems"), (
        "What is {num} percent of {num} hundred?", "Solve x squared minus nine equals zero.", "How do I find the area of a [trapezium|circle]?", "The sum of the angles is 180 degrees.", "Prove that root two is irrational.", "{n} can multiply three-digit numbers in the head.", "Take the derivative, set it to zero, and check the sign of the second one. There you have the maximum.", "Is 91 a prime?", "The fraction can be reduced to two thirds.", "What's the probability of {num} heads in a row?"),
        ("Several factors led to the crash of the bank.", "He was part of the equation in her plans.", "The root of the trouble is envy.")),
    Subject(("history", "history and historical events"), (
        "When did the [Roman|Ottoman] empire fall?", "Who was the first king of the Franks?", "The wall was built in 1961.", "What caused the Thirty Years' War?", "{n} wrote a paper on the plague of 1348.", "The Bronze Age collapsed within a few decades. Palaces burned, writing was lost, and nobody knows for certain why.", "How did knights live in the Middle Ages?", "Pharaohs were buried with boats.", "Which treaty ended the war of 1812?", "The revolution began in bread queues."),
        ("Clear the browsing history.", "That is history now, forget it.", "They made history with that goal.")),
    Subject(("physics", "physics and mechanics"), (
        "Why is the sky blue?", "What is the difference between mass and [force|weight]?", "An electron has a negative charge.", "How does a lever multiply force?", "Friction turns motion into heat.", "A ball falls from {num} metres. Ignore the air and tell me its speed when it hits the ground.", "Is light a wave or a particle?", "Entropy never falls in a closed system.", "{n} measured gravity with a pendulum.", "What did Newton's third law say?"),
        ("He has the physique of a rower.", "The force is strong in this team, said the coach.", "She works under pressure.")),
    Subject(("chemistry", "chemistry and chemical elements"), (
        "What happens when [sodium|zinc] meets water?", "Balance this reaction: hydrogen and oxygen.", "How many protons has carbon?", "The litmus paper turned red.", "{n} broke {num} test tubes in the lab.", "Add the acid drop by drop until the indicator changes colour. Note the volume, then work out the molarity.", "Is table salt an ionic compound?", "Noble gases hardly react.", "What does a catalyst do?", "The periodic table has eighteen groups."),
        ("There was real chemistry between the two actors.", "He is in his element on stage.", "The reaction of the fans was loud.")),
    Subject(("geography", "geography, countries and capitals"), (
        "What's the capital of [Mongolia|Bolivia]?", "Which river flows through {num} countries?", "Name all states that border on Chad.", "The Sahara is as large as a continent.", "Is Greenland an island?", "{n} can point out every country on a globe.", "The equator runs through the north of the continent. South of it lie a plateau, two great lakes and the coast of Tanzania.", "How many time zones has Russia?", "Lake Titicaca lies at 3,800 metres.", "Is Istanbul in Europe or in Asia?"),
        ("Capital letters at the start, please.", "The state of the kitchen is bad.", "No man is an island, he sighed.")),
    Subject(("astronomy", "astronomy and space", "stars and planets"), (
        "How many moons has [Jupiter|Saturn]?", "The probe reached orbit on {day}.", "What is inside a black hole?", "{n} saw a comet with the naked eye.", "Light from Andromeda takes millions of years.", "Point the telescope at the bright dot below the half moon. You should see a ring and {num} tiny moons in a line.", "When is the next eclipse?", "A red giant swallows its inner worlds.", "Is Pluto a planet or not?", "The rover dug in the dust of Mars."),
        ("The star of the show was a boy of nine.", "There's not enough space in the cupboard.", "Her grades are out of this world.")),
    Subject(("foreign languages", "learning languages", "translations and foreign languages"), (
        "How do you say good night in [Polish|Greek]?", "Translate this into Spanish: the train is late.", "The dative confuses me.", "{n} speaks {num} tongues.", "Is Finnish related to Hungarian?", "I learn twenty words a day with flash cards and listen to the radio. My accent is still dreadful, says my tandem partner.", "What does the Latin phrase carpe diem mean?", "Der, die or das before Haus?", "A dictionary, Portuguese to English.", "How many cases has Russian?"),
        ("He ordered a Danish and a coffee.", "The French windows open outwards.", "Mind your language, young man!")),
    Subject(("spelling and grammar", "spelling, grammar and punctuation", "grammar"), (
        "Is it its or it's?", "Where does the comma go in this sentence?", "Who or whom, which is right?", "Please proofread my text for typos.", "{n} writes separate with three e's.", "There is a verb missing in the last sentence, and you mix past and present tense. Otherwise it reads well.", "Is irregardless a word?", "Two m's in accommodate.", "When do I use a semicolon?", "The plural of octopus, please."),
        ("The witch cast a spell.", "He was in a coma for a week.", "The judge passed a sentence of {num} years.")),
    Subject(("exams", "exams and grades", "tests at school"), (
        "How do I revise {num} chapters until {day}?", "I got a D in the mock.", "Will this be on the final?", "{n} failed the resit.", "How many points do I need to pass?", "My mind went blank at question three, and I only wrote again when the bell had nearly rung. I fear the worst.", "May I use a calculator in the paper?", "The marks are on the notice board.", "Multiple choice or essay?", "She came top of the year with straight A's."),
        ("The doctor examined my knee.", "We test the brakes on wet ground.", "He failed to see the joke.")),
    Subject(("universities", "universities and degrees", "studying at university"), (
        "How high are tuition fees in {t}?", "My [bachelor's|master's] takes {num} terms.", "The dean signed my transfer.", "Is a doctorate worth it?", "{n} shares a room on campus.", "The lecture hall was full, the professor spoke into his beard, and after {num} weeks half of the freshmen were gone.", "When is the deadline for enrolment?", "A scholarship for a year abroad at a college.", "Seminar credits can be transferred.", "What do I major in?"),
        ("Turn it by ninety degrees.", "A study in scarlet is the title.", "The faculty of sight is lost with age.")),
))  # fmt: skip

WORK = Family("work", ("work and jobs", "working life", "jobs and the workplace"), (
    Subject(("salaries", "salaries and wages", "pay"), (
        "What does a [nurse|welder] earn per hour?", "My payslip shows {num} hours too few.", "How do I ask for a raise?", "{n} gets a bonus, and I don't.", "Is overtime paid double on {day}?", "They offered {num} thousand gross with a review after the probation. I had hoped for more, given my years in the trade.", "The minimum wage went up in {month}.", "Gross or net, what's the figure in the advert?", "Do interns get any money at all?", "Equal pay for equal work, says the banner."),
        ("Please pay attention.", "The rise of the river was slow.", "Earnestly, he said no.")),
    Subject(("job interviews", "job interviews and applications", "applying for a job"), (
        "What are my weaknesses, they always ask.", "How long should a CV be?", "I never heard back from the recruiter after round {num}.", "{n} was asked about the gap in her CV.", "Attach your references and a cover letter.", "They made me draw a bridge on a whiteboard while {num} people watched. In the end they shook hands and said they'd call.", "What do I wear to meet the recruiter?", "A candidate cancelled an hour before.", "Should I send a thank-you note to the hiring manager?", "The vacancy closes on {day}."),
        ("The reporter interviewed the mayor.", "Apply the cream twice a day.", "The job of a valve is to let air out.")),
    Subject(("meetings", "meetings and agendas"), (
        "Can we move the stand-up to {num}?", "Who takes the minutes today?", "Item three on the agenda was dropped.", "{n} talked for the whole hour of our weekly round.", "Is the conference room free on {day}?", "We sat there for {num} hours, went through the slides one by one and decided to sit together again next week.", "Please mute yourself on the call.", "The invite has the wrong time zone.", "No laptops at the round table, please.", "Can somebody send the notes of this morning's call?"),
        ("It was love at first meeting.", "The rivers meet below the mill.", "The gap of a few minutes decided the race.")),
    Subject(("annual leave", "holiday leave and sick leave", "days off work"), (
        "How many days off do I get in the first year?", "My manager refused my week in {month}.", "Do I need a doctor's note after {num} days?", "{n} is on parental leave until {month}.", "Can I carry days over into the next year?", "I put in the form for two weeks in spring. Nobody signed it, and now three others want to be away as well.", "Is the bridge day off for everyone?", "A sabbatical of {num} months, unpaid.", "Half a day off for the move?", "Who covers for me while I'm away?"),
        ("Leaves of maple turn red.", "Don't leave the gate open.", "He took leave of his senses, they joked.")),
    Subject(("remote work", "working from home", "remote work and home offices"), (
        "May I do three days from my kitchen table?", "{n} dials in from a cabin near {t} and never comes to the office.", "Who pays for the desk in my den?", "Since the office closed, we all log in from our sofas.", "How do I stay focused with no one around?", "No commute, a decent lunch and {num} hours more for myself. What I miss is the chat at the coffee machine.", "The new rule: {num} days on site, the rest wherever you like.", "Is hybrid the best of both worlds?", "My boss wants everyone back at their desks.", "Can I do my job from abroad for a month?"),
        ("Press red on the remote control.", "The home team won.", "Remote islands have few doctors.")),
    Subject(("strikes and unions", "trade unions and strikes", "labour disputes"), (
        "Will the [drivers|nurses] walk out on {day}?", "The pickets stood at gate {num}.", "How do I join the union, and what are the dues?", "{n} was elected shop steward.", "Talks broke down, so they down tools at noon.", "They demand {num} percent and a shorter week. The employers offered half of that and called the ballot irresponsible.", "Is a lockout legal?", "Collective bargaining starts in {month}.", "Solidarity with the bin men!", "The works council has to agree."),
        ("Lightning struck the barn.", "The bowler scored a strike.", "The European Union has many treaties.")),
    Subject(("layoffs", "layoffs and dismissals", "losing one's job"), (
        "Can they sack me while I'm ill?", "{num} hundred people have to go at the plant.", "What severance can I expect?", "{n} was fired by text message.", "My notice came on {day}.", "First the temps were let go, then the night shift, and now they are closing the whole site. We clear our desks.", "Do I get benefits if I quit myself?", "Restructuring means redundancies.", "He was made redundant after {num} years.", "Unfair dismissal, says my lawyer."),
        ("The hunter fired twice.", "Class dismissed!", "Sack race at three on the lawn.")),
    Subject(("bosses", "bosses and managers", "superiors at work"), (
        "My team lead takes credit for everything I do.", "How do I tell my supervisor that I'm swamped?", "The head of department never says thank you.", "{n} was promoted and now bosses us around.", "What makes a good team lead?", "She asks how you are and waits for the answer. In {num} years I have never had a better superior.", "My line manager micromanages each step.", "Can I refuse an order from the chief?", "He shouts at trainees.", "The new head knows nothing about the trade."),
        ("I beat the final boss in level nine.", "She managed to open the jar.", "The leading role went to a boy.")),
))  # fmt: skip

COMPANY = Family("company", (), (
    Subject(("competitors", "competitors and their products", "rival companies"), (
        "Is {rival} cheaper than you?", "I switched to {rival} and never looked back.", "How do you compare with {rival}?", "{rival} has had that feature for {num} years.", "Why should I stay with you instead of {rival}?", "My neighbour's one is from {rival}. It does the same, costs half as much, and their hotline picks up after {num} rings.", "{rival} ships within a day.", "Which other makers sell something like this?", "Does your adapter fit a {rival}?", "Everyone at our club uses {rival} now."),
        ("The sisters were rivals in love.", "The skaters compete in pairs.", "It's a competent essay.")),
    Subject(("our roadmap", "our future products and plans", "unreleased products"), (
        "When does version {num} come out?", "Will you launch in {t} next year?", "Is there a model with a larger screen in the works?", "What are you building next?", "The beta for the new planner starts in {month}.", "I heard that you are working on something for tablets. Can you tell me whether it will be ready by {month}?", "Any chance you'll add dark mode soon?", "Leak: the successor of the X{num} will be thinner.", "Do you intend to support Linux one day?", "The release was put off by {num} weeks."),
        ("The road map shows no petrol station.", "I plan my garden on paper.", "Rocket launch at nine, weather permitting.")),
    Subject(("our staff", "our employees and internal staff", "people who work at the company"), (
        "Who is your head of sales?", "How many people work in your {t} branch?", "What is the extension of your accountant?", "Is {n} still in your support team?", "Give me the name of your chief engineer.", "Your man at the counter, the one with the beard, was very helpful. Which team is he in, and who is his manager?", "Did your founder really step down?", "Who trains your call centre people?", "I'd like the mail address of your press officer.", "Your finance director left in {month}, didn't she?"),
        ("A wizard needs a staff.", "The flag staff is nine metres high.", "The staff of the score has five lines.")),
    Subject(("our prices", "our prices and fees", "the cost of our products"), (
        "How much is the [basic|family] plan?", "Why did you go up from {num} to twenty a month?", "Is there a setup fee?", "What would {num} seats cost us a year?", "Do students get it cheaper?", "Your quote says ninety, but the page says eighty. Which of the two is right, and is VAT included?", "The premium tier isn't worth what you charge.", "Twelve euros a month, billed yearly.", "Are there hidden costs?", "Can you send me your rate card?"),
        ("He paid a high price for his pride.", "A priceless look on her face!", "It cost him his sleep.")),
    Subject(("opening hours", "opening hours and locations of our shops", "our shops' hours and addresses"), (
        "Are you open on [{day}|bank holidays]?", "What time do you close on {day}?", "Where's your nearest branch to {t}?", "We're here from nine to {num}, except at noon.", "Is the counter staffed at lunch time?", "I stood before a locked door at {num}. Your page says you are there until eight, so which is it?", "How do I get to your showroom by bus?", "Our store in {t} moves to the ground floor.", "Do you have an outlet near the airport?", "Closed for stocktaking on {day}."),
        ("The opening of the bottle is narrow.", "Happy hour jokes were told all night.", "The opening move was bold.")),
    Subject(("our data protection", "the handling of customers' data", "privacy and stored data"), (
        "What do you store about me?", "Erase everything you have on file about me.", "Who do you share my details with?", "Where are your servers, in Europe?", "How long do you keep my chats?", "I never agreed to be tracked. Send me a copy of all records under my name, and say who has seen them.", "Is my birth date encrypted at your end?", "Do you sell addresses to third parties?", "Your consent form is unclear.", "Who is your data protection officer?"),
        ("The data of the experiment fit a line.", "He files his nails.", "In the privacy of her garden she sang.")),
    Subject(("company history", "the founding and history of our company", "our company's past"), (
        "Who founded you, and when?", "We began in a garage in {t} in 1974.", "What did you make in the early days?", "How did you get your name?", "Your first model was a wooden one, wasn't it?", "The founder's daughter took over in 1990, sold the mill and moved production to {t}. {num} generations have run it.", "How old is your firm?", "Is the brand still family-owned?", "You celebrate your centenary in {month}.", "Which year did you go international?"),
        ("A lost and found box stands in the hall.", "Foundation cream in a pale shade.", "They kept me company on the porch.")),
))  # fmt: skip

ORDERS = Family("orders", ("shopping and orders", "orders, payment and delivery", "buying from the shop"), (
    Subject(("delivery", "delivery and shipping", "parcels and couriers"), (
        "Where is my parcel?", "The courier left it in the rain.", "Tracking hasn't changed since {day}.", "Do you ship to {t}?", "{n} signed for the box by mistake.", "It was due on {day}, then on the day after, and now it is back at the depot. Can it go to a pick-up point instead?", "How long does express take?", "Free of charge above {num} euros, to your door.", "The van drove past without stopping.", "My order is still not dispatched, is it?"),
        ("The singer's delivery was dry and slow.", "The nurse delivered twins.", "The boss delivered a long speech.")),
    Subject(("returns and refunds", "returns and refunds", "sending things back"), (
        "How do I send the [first|second] one back?", "I want my money back.", "Do I have to pay for the return label?", "It's been {num} weeks and nothing is on my account again.", "{n} changed her mind within fourteen days.", "The thing is unused and in its wrapping. Please tell me where to send it and when I'll be reimbursed.", "Can I swap it for the blue one?", "No receipt, no money back, they said.", "Opened packs can't be taken back.", "You credited {num} euros too little."),
        ("Many happy returns of the day!", "The swallows return in April.", "Point of no return is the title of the song.")),
    Subject(("warranty", "warranty and guarantee claims", "guarantees"), (
        "Is it still covered after {num} years?", "The seal is broken, so the guarantee is void.", "It failed in month thirteen, do I have to pay for the repair?", "Where do I register the serial number for cover?", "{n} had the motor replaced free of charge.", "The maker promises ten years on the frame, yet says that rust is wear and tear and not a defect.", "Who is liable, the seller or the maker?", "An extended plan costs {num} euros.", "Keep the proof of purchase for the guarantee.", "Does opening the case end my cover?"),
        ("I guarantee you'll laugh at that film.", "Caution is warranted on ice.", "A search warrant was issued.")),
    Subject(("sizes", "sizes and fit", "size charts"), (
        "Do these come up small?", "Is an M the same as a 38?", "I'm 170, which one should I take?", "Too tight at the waist, too wide at the hem.", "Do you have it in XXL?", "{n} is between {num} and twelve. The chart says to go one up, the reviews say one down.", "Which measurements do you need from me?", "The large was more like a small.", "Do they come in narrow and wide?", "Petite or regular for short legs?"),
        ("He sized up his opponent.", "Throw a fit in the shop, dear, and we leave.", "A good-sized crowd cheered.")),
    Subject(("gift cards", "gift cards and gift wrapping", "vouchers as gifts"), (
        "Can I give a voucher for {num} euros?", "My gift code isn't accepted.", "Please wrap it with a ribbon.", "How long is a gift certificate valid?", "{n} got one and lost the number.", "It's a present for my boss, so leave the price off the slip and put in a note: with best wishes.", "May I redeem two at once?", "Is there any credit left on the gift code?", "Send it by mail as a surprise, with a bow.", "Do you have nice paper for wrapping?"),
        ("She has a gift for drawing.", "It's a wrap, said the director.", "He presented his paper in {t}.")),
    Subject(("discounts", "discounts and special offers", "sales and coupon codes"), (
        "Is there a code for new customers?", "The coupon is refused at the till.", "{num} percent off everything until {day}!", "Do you have a summer sale?", "Buy two, get one free.", "I ordered on {day}, and a day later it was marked down by a third. Can you give me the lower figure afterwards?", "Are pensioners entitled to a rebate?", "Clearance: all odds and ends must go.", "Black week starts early this year.", "Does the promo stack with my points?"),
        ("Don't discount his opinion.", "He offered her his seat.", "The judge struck a bargain with the lawyers.")),
    Subject(("payment", "payment methods and failed payments", "paying for an order"), (
        "Can I pay [in instalments|on account]?", "The checkout says declined.", "I was charged twice for one order.", "Do you take bank transfers?", "{n} paid in cash on collection.", "I confirmed it in the banking app, the amount was taken, but the basket still says unpaid.", "Which providers do you support at checkout?", "Please settle the open amount by {day}.", "Direct debit failed {num} times.", "Can I split it over two cards?"),
        ("Crime doesn't pay, said the sheriff.", "We paid a visit to the old mill.", "Pay heed to the gap.")),
    Subject(("invoices", "invoices and receipts", "bills for orders"), (
        "I need a copy of the bill from {month}.", "The name on the receipt is wrong.", "Where do I find my VAT number on it?", "{n} lost the slip.", "Please make it out to our firm, not to me.", "It lists {num} items, although I ordered three. Correct it and send me a PDF, our accounts won't take it like this.", "Is the e-receipt enough for the tax man?", "Number 2231 has no date.", "Can you bill me quarterly?", "We never got a bill for order {num}."),
        ("The duck has a yellow bill.", "The bill passed the upper house.", "She fits the bill for the role.")),
    Subject(("product availability", "availability and stock", "items that are sold out"), (
        "When will the [green|large] one be back?", "Sold out again!", "How many pieces do you still have?", "Can you put one aside for me?", "{n} is on the waiting list.", "It says only {num} left, and it has said so for weeks. Is that true or just to rush me?", "Is it available in your {t} store?", "Back-ordered until {month}.", "Notify me as soon as it can be had.", "The item was discontinued."),
        ("The stock of the rifle is walnut.", "A stock phrase, worn and dull.", "Simmer the bones for a clear stock.")),
))  # fmt: skip

SOCIETY = Family("society", (), (
    Subject(("religion", "religion and faith", "God and churches"), (
        "What does the [Bible|Koran] say about forgiveness?", "The [priest|imam] spoke for {num} minutes.", "Is there a life after this one?", "{n} was baptised in {month}.", "Why do monks keep silent?", "We light a candle, say a prayer and sing. Afterwards everyone stays in the parish hall and talks.", "How many commandments are there?", "Ramadan begins on {day}.", "Buddhists seek an end of suffering.", "Is it a sin to lie?"),
        ("That old car is his religion.", "The bishop takes on e5.", "I have faith in the new coach.")),
    Subject(("politics", "politics and political parties", "the government"), (
        "What do the [Greens|Liberals] want for schools?", "The coalition broke over the budget.", "Who is the foreign minister now?", "{n} joined the party youth.", "Is left or right even a useful word?", "The opposition walked out of parliament, and the prime minister went on reading. Within a week there was a vote of no confidence.", "Should the state own the railways?", "The senator blocked the bill.", "Lobbyists wrote half of the law.", "What does populism mean?"),
        ("The party went on until four.", "Cabinet with two doors, oak.", "The stove is left of the door.")),
    Subject(("astrology", "horoscopes and astrology", "star signs"), (
        "What do my stars say for {day}?", "I'm a Leo, will I get on with a [Virgo|Scorpio]?", "Mercury is in retrograde again.", "{n} reads tarot and palms.", "Your ascendant explains your temper.", "This week brings a fresh wind for Pisces. Trust your feelings, avoid quarrels and expect a letter.", "Which sign is most faithful?", "Born on the cusp, what does it mean?", "Saturn in the seventh house slows you down.", "Cast my birth chart, please."),
        ("Cancer research got a grant.", "The scales in the bathroom are broken.", "Sign here, please.")),
    Subject(("ghosts", "ghosts and the supernatural", "hauntings"), (
        "Are there any haunted [inns|castles] near {t}?", "Something knocks in the attic, and nobody is there.", "{n} swears she saw a white lady.", "How do I hold a seance?", "The medium spoke with the voice of a dead man.", "At {num} in the morning the door opened by itself, the candle went out, and we heard steps. I don't believe in such things, yet I left.", "What is a poltergeist?", "Do vampires have a shadow?", "An exorcist came and sprinkled water.", "Is our house cursed?"),
        ("He gave up the ghost of a chance.", "A ghostwriter did her memoirs.", "The team spirit is good.")),
    Subject(("funerals", "funerals and mourning", "death and burials"), (
        "What do I say to a widow?", "The coffin was carried by {num} men.", "How much does a cremation cost?", "{n} read the eulogy.", "Flowers or a donation for the wake?", "We scattered her ashes at sea on {day}. Nobody spoke; then her brother began to hum, and we all joined in.", "How long is a grave kept?", "The obituary was in the paper.", "I still miss dad, {num} years after he passed.", "Which colours may one wear to a burial?"),
        ("The deadline is {day}.", "Don't bury the lead of your story.", "He was dead tired.")),
    Subject(("royal families", "kings, queens and royal families", "monarchy"), (
        "Who is next in line to the throne?", "The [prince|princess] opened a school in {t}.", "What does the crown cost us a year?", "{n} collects mugs with the king on them.", "Should the monarchy be abolished?", "The coronation took {num} hours, with carriages and a heavy gold robe. The queen mother waved from the balcony.", "How do you address a duke?", "Her Majesty's Christmas speech was short.", "A royal baby is due in {month}.", "Do princes have surnames?"),
        ("King-size duvet in blue.", "The bee queen lays eggs.", "He made a royal mess of the kitchen.")),
    Subject(("charity", "charities and donations", "giving and volunteering"), (
        "Which [shelter|relief fund] can I trust?", "We collect blankets for the homeless.", "Is my gift of {num} euros tax-deductible?", "{n} volunteers at the soup kitchen.", "Run for the hospice, every mile counts.", "The flood left {num} hundred families with nothing. If you can spare an hour on {day}, come and help sort clothes.", "How much of it reaches the poor?", "A benefit night raised ten thousand.", "Sponsor a child for a year.", "Where do I donate old spectacles for people in need?"),
        ("The donor organ arrived in time.", "A volunteer tomato came up by the wall.", "His judgement was not charitable.")),
    Subject(("conspiracy theories", "conspiracy theories and hoaxes"), (
        "Was the moon landing filmed in a studio?", "They put chips in us, wake up!", "Who really rules the world behind the scenes?", "{n} thinks the earth is flat.", "The trails behind planes make us docile.", "Nobody tells you the truth about that tower. Count the floors, look at the dates, and you'll see it was planned.", "Are lizard people in the cabinet?", "A secret lodge of {num} families owns all banks.", "The pyramids were a landing pad, and they hide it.", "Is the cover-up still going on?"),
        ("In theory the bridge holds ten tons.", "The plot of the opera is thin.", "She hid the key behind the clock.")),
    Subject(("climate change", "climate change and global warming", "climate protection"), (
        "How much CO2 does a [flight|steak] cause?", "The glaciers lose {num} metres a year.", "Is a carbon tax fair?", "{n} glued himself to the road for the planet.", "Sea levels rise faster than thought.", "If emissions do not fall within this decade, the target of one and a half degrees is gone. What can one household do?", "What is net zero?", "Permafrost sets methane free.", "Greenhouse gases hit a new record.", "Do tipping points exist?"),
        ("There's a change of climate in our office.", "Change the bulb first.", "The global head of sales left.")),
))  # fmt: skip

WEATHER = Family("weather", ("nature and the weather", "the weather and natural phenomena"), (
    Subject(("rain", "rain and floods", "wet weather"), (
        "Will it pour all [day|weekend]?", "The cellar is under water after the downpour.", "Do I need an umbrella in {t} today?", "Drizzle in the morning, showers until {num}.", "{n} came home soaked to the skin.", "The river burst its banks, and the fire brigade carried {num} people out in boats. More showers are forecast.", "How many litres fell last night?", "Puddles everywhere, bring wellies.", "The monsoon is late this year.", "It has been dripping from the sky since {day}."),
        ("Take a rain check on dinner?", "Letters of protest flooded the office.", "Blows rained down on the boxer.")),
    Subject(("snow and ice", "snow, ice and frost", "winter weather"), (
        "How deep is the [fresh layer|drift]?", "The roads are icy, drive slowly.", "Will the lake freeze over by {month}?", "{n} built a man with a carrot nose.", "Black ice on the bridge near {t}.", "It began with a few flakes. By midnight the village was white and still, and in the morning we dug out the door.", "Is it minus {num} again tonight?", "An avalanche closed the valley.", "Who clears the pavement when it's slippery?", "Icicles hang from the gutter."),
        ("Her joke broke the ice.", "The account was frozen by the court.", "We're snowed under with forms.")),
    Subject(("heat and drought", "heat and drought", "hot weather"), (
        "Does the heatwave last until {day}?", "It's thirty-nine in the shade.", "The fields near {t} are cracked and brown.", "No drop for {num} weeks.", "{n} fainted in the midday sun.", "Close the shutters early, drink water, stay inside until {num}. The nights won't be cooler before the weekend.", "When does the ban on watering end?", "Scorching again, nobody sleeps.", "The reservoir is down to a fifth.", "How hot will it get?"),
        ("That was a hot tip.", "The qualifying heats start at nine.", "A title drought of {num} years ended.")),
    Subject(("storms", "storms, wind and thunder", "gales and hurricanes"), (
        "When does the [hurricane|gale] reach the coast?", "Thunder rolled over {t} at {num}.", "Gusts of a hundred tore tiles off the roof.", "{n} counts the seconds after each flash.", "Is it safe under a tree when lightning strikes?", "The tornado touched down west of town, crossed {num} farms and was gone in minutes. Nobody was hurt.", "Batten down the hatches, it's blowing hard.", "Hail as big as eggs dented everything.", "What force on the Beaufort scale is it?", "The power went when the squall hit."),
        ("He stormed out of the room.", "A brainstorm with {num} colleagues.", "She got wind of the plan.")),
    Subject(("earthquakes", "earthquakes and tsunamis", "quakes"), (
        "How strong was the tremor on {day}?", "Magnitude {num}, ten kilometres deep.", "The chandelier swung, then the whole house shook.", "{n} crawled under the desk when the floor began to sway.", "What is an aftershock?", "The plates get stuck, tension builds up and then the fault slips. Near {t} that happens every {num} decades.", "Are our bricks safe if the ground moves?", "After the jolt, sirens warned of a giant wave.", "Richter or another scale?", "Cracks ran across the square when the plates slipped."),
        ("That verdict was a political quake.", "It's not your fault.", "She was shaking with laughter.")),
    Subject(("volcanoes", "volcanoes and lava"), (
        "When did [Etna|Krakatoa] last erupt?", "Ash has closed the air space near {t}.", "Glowing rock runs down to the sea.", "{n} looked into the crater.", "What is magma made of?", "The mountain smoked for {num} days, then blew off its top. Pumice fell on the villages, and the slope slid into a lake.", "Is this one dormant or extinct?", "Sulphur stinks at the rim.", "A new cone grew overnight.", "Can a caldera be as wide as a city?"),
        ("The crowd erupted in cheers.", "A lava lamp in orange.", "The Ash family lives next door.")),
    Subject(("rivers and lakes", "rivers, lakes and oceans", "bodies of water"), (
        "How long is the [Danube|Orinoco]?", "The stream runs dry behind the mill.", "Is the bottom of the tarn really at {num} hundred metres?", "{n} lives where two brooks meet.", "The delta shifts every decade.", "From the spring to the mouth it drops {num} hundred metres. Below the waterfall it widens, and at low water you can wade.", "What makes the tides?", "The Pacific covers a third of the globe.", "Our canal was dug in 1820.", "Which gulf is saltier?"),
        ("He streams his shows at night.", "A current problem with the fuse.", "They sold him down the river.")),
))  # fmt: skip

WORLD = (TRAFFIC, DEVICES, SOFTWARE, LAW, LEARNING, WORK, COMPANY, ORDERS, SOCIETY, WEATHER)
