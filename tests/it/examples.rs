//! Example tasks: on the command line, from a program that stands for a model, from use, and from the
//! shipped pack.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, shared, text, wait_until};

/// A program that stands for a model: it answers with the lines of `answers.jsonl` for the tools in its
/// prompt, counts its runs in `runs`, and fails in the run named in `fail`.
const MODEL: &str = r#"cd "$0" || exit 9
runs=$(($(cat runs 2>/dev/null || echo 0) + 1)); echo $runs > runs
[ "$runs" != "$(cat fail 2>/dev/null)" ] || exit 7
cat > prompt
echo "Here you are:"
sed -n 's/^{"tool":"\([^"]*\)".*/\1/p' prompt | while read -r tool; do grep "\"$tool\"" answers.jsonl; done"#;

fn model(sandbox: &Sandbox, answers: &[(&str, &[&str])]) -> String {
    let lines = answers.iter().map(|(tool, tasks)| json!({"tool": tool, "tasks": tasks}).to_string());
    fs::write(sandbox.path("answers.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    format!("sh -c '{}' {}", MODEL.replace('\'', "'\\''"), sandbox.path("").display())
}

fn number(sandbox: &Sandbox, file: &str) -> u32 {
    fs::read_to_string(sandbox.path(file)).unwrap().trim().parse().unwrap()
}

/// The examples as (tool, source, state, text).
fn listed(sandbox: &Sandbox, arguments: &[&str]) -> Vec<[String; 4]> {
    let listed = sandbox.json(&[&["examples", "list", "--json"], arguments].concat());
    let text = |example: &Value, key: &str| example[key].as_str().unwrap().to_owned();
    let examples = listed["examples"].as_array().unwrap().iter();
    examples.map(|example| ["tool", "source", "state", "text"].map(|key| text(example, key))).collect()
}

fn states(sandbox: &Sandbox, state: &str) -> usize {
    listed(sandbox, &[]).iter().filter(|example| example[2] == state).count()
}

fn first(sandbox: &Sandbox, task: &str) -> String {
    let found = sandbox.json(&["search", task, "--json"]);
    found["results"][0]["tool"].as_str().unwrap_or_default().to_owned()
}

/// A sandbox with the fixture's tools known.
fn indexed() -> Sandbox {
    let sandbox = Sandbox::new(json!({"fixture": child(&[])}));
    sandbox.json(&["reindex", "--json"]);
    sandbox
}

#[test]
fn examples_are_added_examined_listed_and_taken_out() {
    let sandbox = indexed();
    let task = "let a fresh leaf sprout";
    assert_ne!(first(&sandbox, task), "grow");
    let added = sandbox.json(&[
        "examples",
        "add",
        "fixture:grow",
        "sprout another leaf",
        "let a fresh branch come out",
        "grow",
        "--json",
    ]);
    assert_eq!((&added["kept"], &added["setAside"][0]["text"]), (&json!(2), &json!("grow")), "{added}");
    assert_eq!(first(&sandbox, task), "grow");
    let doubtful = sandbox.run(&["examples", "list", "--doubtful"]);
    assert!(text(&doubtful.stdout).contains("no more than the tool's name"), "{}", text(&doubtful.stdout));

    // What is exported can be imported elsewhere.
    let exported = text(&sandbox.run(&["examples", "export"]).stdout);
    let file = sandbox.path("examples.jsonl");
    fs::write(&file, &exported).unwrap();
    assert_eq!(exported.lines().count(), 1, "{exported}");
    let again = sandbox.json(&["examples", "import", file.to_str().unwrap(), "--json"]);
    assert_eq!((&again["kept"], &again["known"]), (&json!(0), &json!(2)));

    // A source that is off finds nothing any more; its examples are still there.
    sandbox.json(&["examples", "off", "user", "--json"]);
    assert_ne!(first(&sandbox, task), "grow");
    let refused = sandbox.json(&["examples", "add", "fixture:grow", "bud again", "--json"]);
    assert_eq!((&refused["kept"], refused["setAside"].as_array().unwrap().len()), (&json!(0), 1));
    sandbox.json(&["examples", "on", "user", "--json"]);
    assert_eq!(first(&sandbox, task), "grow");
    assert_eq!(sandbox.json(&["examples", "rm", "--tool", "fixture:grow", "--json"])["removed"], 3);
    assert_ne!(first(&sandbox, task), "grow");
}

#[test]
fn what_is_wrong_with_an_example_is_told() {
    let sandbox = indexed();
    let unknown = sandbox.run(&["examples", "add", "fixture:nap", "have a rest"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stdout).contains("there is no such tool"));
    for (arguments, code, told) in [
        (&["examples", "add", "sleep", "rest"][..], 2, "server:tool"),
        (&["examples", "rm"], 2, "say which"),
        (&["examples", "rm", "77"], 2, "no example 77"),
        (&["examples", "import", "/no/such/file"], 2, "cannot read"),
        (&["teach"], 2, "--command"),
        (&["teach", "--server", "nope", "--print-prompt"], 2, "unknown server"),
    ] {
        let output = sandbox.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(text(&output.stderr).contains(told), "{arguments:?}: {}", text(&output.stderr));
    }
    let file = sandbox.path("broken.jsonl");
    fs::write(&file, "{\"tool\": \"fixture:echo\", \"tasks\": [\"say it again\"]}\n{\"tool\": 3}\n").unwrap();
    let broken = sandbox.run(&["examples", "import", file.to_str().unwrap()]);
    assert!(text(&broken.stderr).contains("broken.jsonl:2:"), "{}", text(&broken.stderr));
    assert!(listed(&sandbox, &[]).is_empty(), "a broken file changes nothing");
}

#[test]
fn a_program_teaches_batch_by_batch_and_goes_on_where_it_stopped() {
    let sandbox = indexed();
    let command = model(
        &sandbox,
        &[
            ("fixture:echo", &["say back to me what I just said", "parrot this"]),
            ("fixture:whoami", &["which stand-in am I talking to", "who are you, test dummy"]),
            ("fixture:sleep", &["hold on for half a second", "take a breather"]),
            ("fixture:environment", &["what is PATH set to over there", "which settings did it inherit"]),
            ("fixture:rich", &["show me a bit of each media type", "everything you can send back"]),
            ("fixture:fail", &["let the tool itself report trouble", "make it go wrong"]),
            ("fixture:refuse", &["have the request rejected by the server", "decline on the wire"]),
            ("fixture:crash", &["pull the plug while it works", "die halfway"]),
            ("fixture:grow", &["offer one more thing than before", "get a new ability"]),
            ("fixture:erase", &["wipe my drive completely", "get rid of all data forever"]),
        ],
    );
    fs::write(sandbox.path("fail"), "2").unwrap();
    let arguments = ["teach", "--batch", "4", "--command", &command];
    let stopped = sandbox.run(&arguments);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(text(&stopped.stderr).contains("what was taught before is kept"), "{}", text(&stopped.stderr));
    let kept = states(&sandbox, "kept");
    assert!((6..=8).contains(&kept), "{:?}", listed(&sandbox, &[]));

    let went_on = sandbox.run(&arguments);
    assert!(went_on.status.success(), "{}", text(&went_on.stderr));
    // Two batches are left after the first one, whose tools are not asked for again.
    assert_eq!(number(&sandbox, "runs"), 4);
    assert!(!fs::read_to_string(sandbox.path("prompt")).unwrap().contains("\"fixture:echo\""));
    assert!(states(&sandbox, "kept") >= 18, "{:?}", listed(&sandbox, &[]));
    assert!(listed(&sandbox, &[]).iter().all(|example| example[1] == "command"));
    assert_eq!(first(&sandbox, "please parrot what I told you"), "echo");
    let nothing_left = sandbox.run(&["teach", "--print-prompt"]);
    assert_eq!(text(&nothing_left.stdout).trim(), "every tool has examples");
}

/// Tools of a household, described in English.
fn household(sandbox: &Sandbox) -> std::path::PathBuf {
    let tool = |name: &str, description: &str| json!({"name": name, "description": description, "inputSchema": {"type": "object", "properties": {}}});
    let listing = sandbox.path("household.json");
    let tools = [
        tool("set_thermostat", "Set the target temperature of a room"),
        tool("turn_on_lights", "Switch on the lamps of a room"),
        tool("lock_doors", "Lock all outer doors of the house"),
        tool("start_dishwasher", "Start a program of the dishwasher"),
        tool("open_blinds", "Raise the window blinds"),
        tool("order_groceries", "Add items to the next delivery of the supermarket"),
        tool("water_garden", "Run the irrigation for some minutes"),
        tool("feed_cat", "Release a portion from the pet feeder"),
    ];
    fs::write(&listing, json!({"tools": tools}).to_string()).unwrap();
    listing
}

#[test]
fn german_tasks_route_once_a_model_has_written_german_examples() {
    let sandbox = Sandbox::new(json!({}));
    let listing = household(&sandbox);
    let entry = json!({"home": child(&["--listing", listing.to_str().unwrap()])});
    sandbox.configure(&json!({"mcpServers": entry}).to_string());
    sandbox.json(&["reindex", "--json"]);
    let tasks = [
        ("Mir ist kalt im Wohnzimmer, mach es bitte wärmer", "set_thermostat"),
        ("im Flur ist es zu dunkel, Lampen an", "turn_on_lights"),
        ("Sind die Türen zu? Schließ bitte überall ab", "lock_doors"),
        ("Die Spülmaschine ist voll, lass sie laufen", "start_dishwasher"),
        ("Zieh die Jalousien im Schlafzimmer hoch", "open_blinds"),
        ("Wir brauchen Milch und Brot vom Supermarkt", "order_groceries"),
        ("Der Rasen ist trocken, bitte bewässern", "water_garden"),
        ("Die Katze hat Hunger", "feed_cat"),
    ];
    let right = || tasks.iter().filter(|(task, tool)| first(&sandbox, task) == *tool).count();
    let before = right();
    let command = model(
        &sandbox,
        &[
            (
                "home:set_thermostat",
                &["Stell die Heizung im Bad auf 22 Grad", "mir ist zu kalt", "mach es wärmer"],
            ),
            (
                "home:turn_on_lights",
                &["Schalte in der Küche das Licht ein", "es ist dunkel hier", "Lampen an"],
            ),
            ("home:lock_doors", &["Schließ alle Haustüren ab", "sind alle Türen zu?", "abschließen"]),
            (
                "home:start_dishwasher",
                &["Starte die Spülmaschine", "das Geschirr ist schmutzig", "Spülmaschine an"],
            ),
            (
                "home:open_blinds",
                &["Fahr die Jalousien hoch", "lass Sonne durchs Fenster herein", "Rollos hoch"],
            ),
            (
                "home:order_groceries",
                &[
                    "Setz Butter auf die Einkaufsliste",
                    "wir haben keine Milch mehr",
                    "Brot vom Supermarkt bestellen",
                ],
            ),
            (
                "home:water_garden",
                &["Bewässere die Beete zehn Minuten", "der Rasen ist ganz trocken", "Garten gießen"],
            ),
            (
                "home:feed_cat",
                &["Gib der Katze ihr Futter", "die Katze miaut und hat Hunger", "Katze füttern"],
            ),
        ],
    );
    let taught = sandbox.json(&["teach", "--language", "German", "--command", &command, "--json"]);
    assert!(fs::read_to_string(sandbox.path("prompt")).unwrap().contains("in German"));
    assert!(taught["kept"].as_u64().unwrap() >= 20, "{taught}");
    let after = right();
    assert!(before < after && after == tasks.len(), "{before} of 8 before, {after} after");
}

fn call(session: &mut Session, tool: &str, arguments: &Value) {
    let result = session.tool("call_tool", &json!({"tool": tool, "arguments": arguments}));
    assert!(result["isError"] != true, "{result}");
}

#[test]
fn a_task_whose_explicit_call_succeeded_becomes_an_example_without_its_secrets() {
    let sandbox = indexed();
    let mut session = sandbox.serve();
    // What the model finds and calls itself is learned.
    let task = "parrot my words back, the password is hunter2";
    session.tool("search_tools", &json!({"query": task, "limit": 10}));
    call(&mut session, "fixture:echo", &json!({"message": "x"}));
    wait_until("the example", || {
        listed(&sandbox, &[]).into_iter().find(|example| example[1] == "use" && example[2] == "kept")
    });
    let learned = listed(&sandbox, &["--source", "use"]);
    assert_eq!(learned[0][3], "parrot my words back, the password is …", "{learned:?}");

    // A call that failed, a call for no task, and one that the orchestrator chose teach nothing.
    session.tool("search_tools", &json!({"query": "let something go wrong on purpose", "limit": 10}));
    session.tool("call_tool", &json!({"tool": "fixture:fail", "arguments": {}}));
    call(&mut session, "fixture:whoami", &json!({}));
    call(&mut session, "fixture:whoami", &json!({}));
    session.tool("execute", &json!({"task": "tell me the name of this fixture"}));
    // A stream of such calls stays within bounds.
    for number in 0..14 {
        let query = format!("say the {number}th line of our song back to me, word by word");
        session.tool("search_tools", &json!({"query": query, "limit": 10}));
        call(&mut session, "fixture:echo", &json!({"message": "la"}));
    }
    wait_until("the last of the stream", || {
        let kept = listed(&sandbox, &["--source", "use"]);
        assert!(kept.iter().all(|example| example[0] == "echo"), "{kept:?}");
        (kept.len() <= 10 && kept.iter().any(|example| example[3].contains("13th"))).then_some(())
    });
    session.end();

    // Off, and forgotten, in one command.
    sandbox.json(&["examples", "off", "use", "--forget", "--json"]);
    assert!(listed(&sandbox, &[]).is_empty());
}

#[test]
fn use_raises_a_tool_for_paraphrases_and_takes_no_task_from_another() {
    let sandbox = Sandbox::new(json!({}));
    let listing = household(&sandbox);
    let entry = json!({"home": child(&["--listing", listing.to_str().unwrap()])});
    sandbox.configure(&json!({"mcpServers": entry}).to_string());
    sandbox.json(&["reindex", "--json"]);
    let found = |task: &str| {
        let results = sandbox.json(&["search", task, "--json"])["results"].clone();
        let results = results.as_array().unwrap();
        results.iter().position(|result| result["tool"] == "start_dishwasher").unwrap_or(usize::MAX)
    };
    let first = |task: &str| sandbox.json(&["search", task, "--json"])["results"][0]["tool"].clone();
    let others = [
        ("make it warmer in here", "set_thermostat"),
        ("give the cat something to eat", "feed_cat"),
        ("switch the lamps on in the hall", "turn_on_lights"),
    ];
    for (task, tool) in others {
        assert_eq!(first(task), tool, "{task}");
    }
    let paraphrases = [
        "the plates want their wash",
        "let the mugs have their wash now",
        "our plates and mugs wait for a wash",
    ];
    let before: usize = paraphrases.iter().map(|task| found(task)).sum();

    // A model looks, and takes what is right; once it is wrong.
    let mut session = sandbox.serve();
    let mut choose = |task: &str, tool: &str| {
        session.tool("search_tools", &json!({"query": task, "limit": 10}));
        call(&mut session, &format!("home:{tool}"), &json!({}));
    };
    choose("the cups and plates want a wash", "start_dishwasher");
    choose("give the mugs and plates their wash", "start_dishwasher");
    choose("give our cat something to eat", "start_dishwasher");
    wait_until("what was learned", || (listed(&sandbox, &["--source", "use"]).len() == 3).then_some(()));
    session.end();
    let after: usize = paraphrases.iter().map(|task| found(task)).sum();
    assert_eq!(after, 0, "it comes first for all of them, {before} places better than before");
    for (task, tool) in others {
        assert_eq!(first(task), tool, "{task}");
    }

    // The wrong one is found and undone, by its number alone.
    let learned = sandbox.json(&["feedback", "list", "--json"]);
    let poisoned = learned["examples"]
        .as_array()
        .unwrap()
        .iter()
        .find(|example| example["text"].as_str().unwrap().contains("cat"))
        .unwrap();
    sandbox.json(&["feedback", "forget", &poisoned["id"].to_string(), "--json"]);
    assert_eq!(listed(&sandbox, &["--source", "use"]).len(), 2);
    sandbox.json(&["feedback", "off", "--json"]);
    assert!(paraphrases.iter().map(|task| found(task)).sum::<usize>() >= before, "nothing of it is used");
    sandbox.json(&["feedback", "on", "--json"]);
    assert_eq!(paraphrases.iter().map(|task| found(task)).sum::<usize>(), 0);
    sandbox.json(&["feedback", "forget", "--json"]);
    assert!(listed(&sandbox, &["--source", "use"]).is_empty());
}

#[test]
fn nothing_is_learned_from_use_where_that_is_off() {
    let settings = json!({"examples": {"fromUse": false}});
    let sandbox = Sandbox::with_settings(json!({"fixture": child(&[])}), settings);
    sandbox.json(&["reindex", "--json"]);
    let mut session = sandbox.serve();
    session.tool("search_tools", &json!({"query": "parrot my words", "limit": 10}));
    call(&mut session, "fixture:echo", &json!({"message": "x"}));
    session.end();
    assert!(listed(&sandbox, &[]).is_empty());
}

/// `git.json` of the recorded tool lists, with its descriptions changed.
fn changed(file: &Path, changed: &Path, description: &str) {
    let mut listing: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    for tool in listing["tools"].as_array_mut().unwrap() {
        let old = tool["description"].as_str().unwrap_or_default().to_owned();
        tool["description"] = json!(description.replace("{}", &old));
    }
    fs::write(changed, listing.to_string()).unwrap();
}

#[test]
fn the_pack_teaches_known_tools_and_examines_its_examples_when_they_change() {
    let Some(folder) = shared("servers") else { return };
    let sandbox = Sandbox::new(json!({}));
    let listing = sandbox.path("listing.json");
    fs::copy(folder.join("git.json"), &listing).unwrap();
    let server = |name: &str| json!({"mcpServers": {"repo": child(&["--listing", listing.to_str().unwrap(), "--name", name])}});
    sandbox.configure(&server("something else").to_string());
    sandbox.json(&["reindex", "--json"]);
    // The same definitions are known whatever the server is called.
    let all = listed(&sandbox, &[]);
    assert!(all.len() >= 50 && all.iter().all(|example| example[1] == "pack" && example[2] == "kept"));

    // What the user takes out stays out.
    sandbox.json(&["examples", "rm", "1", "--json"]);
    sandbox.json(&["reindex", "--force", "--json"]);
    assert_eq!(states(&sandbox, "removed"), 1);

    // A little changed, from the same package: examined, and good.
    changed(&folder.join("git.json"), &listing, "{}. For one repository.");
    sandbox.configure(&server("mcp-server-git").to_string());
    sandbox.json(&["reindex", "--json"]);
    let kept = states(&sandbox, "kept");
    assert!(kept * 10 >= (all.len() - 1) * 9, "{kept} of {}", all.len());
    assert_eq!(states(&sandbox, "removed"), 1);
}
