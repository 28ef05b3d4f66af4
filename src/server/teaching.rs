//! How the host's own model writes example tasks: by sampling in the background, where the host
//! offers it and the user agreed, and by the prompt `teach`, which the user picks.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rmcp::model::{GetPromptResult, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    catalog::Tool,
    child::Host,
    config::{ExampleSettings, RESERVED_SERVER_NAME, Sampling},
    examples::{Source, prompt},
    execute::{answered_text, ask_host},
    index::Library,
};

/// Name of the prompt.
pub(super) const TEACH: &str = "teach";

/// Tools asked for at once: an answer that most models give in one piece.
const BATCH: usize = 8;
/// Tokens of an answer at most.
const MAX_TOKENS: u32 = 4_000;
/// After the first call of a session, so that the user's own work comes first.
const FIRST_PAUSE: Duration = Duration::from_secs(3);
/// Between two looks for tools to be taught.
const PAUSE: Duration = Duration::from_secs(10);
/// For a model, or a user, to answer.
const PATIENCE: Duration = Duration::from_secs(300);
/// Answers in a row of which nothing could be used, after which this model is not asked again.
const FRUITLESS: u32 = 2;
const HOUR: Duration = Duration::from_secs(3600);

/// The prompt as hosts list it.
pub(super) fn listed() -> Prompt {
    let argument = |name: &str, description: &str| {
        PromptArgument::new(name).with_description(description).with_required(false)
    };
    Prompt::new(
        TEACH,
        Some(
            "Write example tasks for connected tools that have none, so that they are found by what you say",
        ),
        Some(vec![
            argument("server", "Tools of this server only"),
            argument("language", "Language in which you speak, English if not given"),
        ]),
    )
}

/// The prompt as a model gets it.
pub(super) fn prompt_result(server: Option<&str>, language: Option<&str>) -> GetPromptResult {
    let mut arguments = serde_json::Map::new();
    for (name, value) in [("server", server), ("language", language)] {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            arguments.insert(name.to_owned(), Value::String(value.to_owned()));
        }
    }
    let text = format!(
        "Teach the orchestrator by which tasks its tools are found. Repeat this until every tool has examples, or nothing more is taken:\n\
         1. Call the tool `call_tool` with {}. The answer names tools and says what to write for each.\n\
         2. Write the lines, and hand them in: call `call_tool` with tool \"{RESERVED_SERVER_NAME}:add_examples\" \
         and the arguments {{\"examples\": [{{\"tool\": \"server:tool\", \"tasks\": [\"…\"]}}]}}.\n\
         What is set aside is told with a reason; try once more with a task that only this tool does.",
        json!({"tool": format!("{RESERVED_SERVER_NAME}:untaught_tools"), "arguments": arguments})
    );
    GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)])
}

/// Asks a host's model for examples while the session lasts, within the budget. Ends when the user
/// declines, or when nothing useful comes.
pub(super) async fn sample(host: Arc<dyn Host>, library: Library, settings: ExampleSettings) {
    let capabilities = host.capabilities();
    // On 2026-07-28 a host is asked only while it calls; there is nothing to do in the background.
    if settings.sampling == Sampling::Off || capabilities.sampling.is_none() || host.takes_input_requests() {
        return;
    }
    sleep(FIRST_PAUSE).await;
    library.settled().await;
    let mut agreed = settings.sampling == Sampling::On;
    let mut asked_at: VecDeque<Instant> = VecDeque::new();
    let mut fruitless = 0;
    let mut tried: HashSet<String> = HashSet::new();
    while fruitless < FRUITLESS {
        let snapshot = library.snapshot();
        let batch: Vec<Tool> =
            snapshot.untaught().filter(|tool| !tried.contains(&tool.id())).take(BATCH).cloned().collect();
        asked_at.retain(|at| at.elapsed() < HOUR);
        let budget = usize::try_from(settings.sampling_calls_per_hour).unwrap_or(usize::MAX);
        if batch.is_empty() || asked_at.len() >= budget {
            sleep(PAUSE).await;
            continue;
        }
        if !agreed {
            if capabilities.elicitation.is_none() || !agrees(&*host, snapshot.untaught().count()).await {
                return;
            }
            agreed = true;
        }
        asked_at.push_back(Instant::now());
        // Whatever comes of it, nobody is asked for the same tools again in this session.
        tried.extend(batch.iter().map(Tool::id));
        match answer(&*host, &batch, &library).await {
            Ok(kept) if kept > 0 => fruitless = 0,
            Ok(_) => fruitless += 1,
            Err(problem) => {
                tracing::debug!("the host's model wrote no examples: {problem}");
                fruitless += 1;
            }
        }
    }
}

/// Asks the user.
async fn agrees(host: &dyn Host, tools: usize) -> bool {
    let message = format!(
        "{tools} connected tools have no example tasks yet. May your assistant's model write some in the background, \
         so that tools are found by what you say? (Off for good: \"examples\": {{\"sampling\": \"off\"}}.)"
    );
    let request = json!({
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}}}
    });
    let answer = ask_host(host, request, PATIENCE).await.unwrap_or_default();
    answer["action"] == "accept"
}

/// Asks the model for one batch, and returns how many examples are used.
async fn answer(host: &dyn Host, batch: &[Tool], library: &Library) -> Result<usize, String> {
    let request = json!({
        "method": "sampling/createMessage",
        "params": {
            "messages": [{"role": "user", "content": {"type": "text", "text": prompt::prompt(batch, None)}}],
            "maxTokens": MAX_TOKENS
        }
    });
    let answer = ask_host(host, request, PATIENCE).await?;
    let asked: HashSet<String> = batch.iter().map(Tool::id).collect();
    let text = answered_text(&answer);
    let read = prompt::read(&text, |tool| asked.contains(tool), None);
    let taught =
        library.teach(read.examples, Source::Host).await.map_err(|error| crate::report::chain(&error))?;
    Ok(taught.iter().filter(|taught| taught.verdict == crate::index::Verdict::Kept).count())
}
