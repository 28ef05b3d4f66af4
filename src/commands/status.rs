//! `orchestrator status`: servers, tools, model and files. Starts no server.

use serde_json::json;

use super::{Context, output::Output};
use crate::{cli::Exit, embed::ModelSource, report};

/// Prints where everything stands.
pub async fn run(context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    let orchestrator = context.start().await?;
    let paths = &orchestrator.paths;
    let snapshot = orchestrator.library.snapshot();
    let source = ModelSource { model: orchestrator.config.settings.model.clone(), downloads: paths.models() };
    let model = source.resolve();
    let statuses = orchestrator.pool.status();
    orchestrator.shutdown().await;

    if out.is_json() {
        let servers: Vec<_> = statuses
            .iter()
            .map(|status| {
                let mut entry = json!(status);
                entry["tools"] = json!(snapshot.count_of(&status.server));
                entry["listed_at_ms"] =
                    json!(snapshot.servers().get(&status.server).map(|server| server.listed_at));
                entry
            })
            .collect();
        let model = match &model {
            Ok(files) => json!({"name": files.name, "id": files.id, "folder": files.place.to_string()}),
            Err(error) => json!({"error": report::chain(error)}),
        };
        out.json(&json!({
            "config": paths.config, "data_dir": paths.data, "model": model,
            "servers": servers, "tools": snapshot.len(),
        }))?;
        return Ok(Exit::Done);
    }
    out.line(format!("configuration  {}", paths.config.display()))?;
    out.line(format!("data           {}", paths.data.display()))?;
    match &model {
        Ok(files) => out.line(format!("model          {} in {}", files.name, files.place))?,
        Err(error) => out.line(format!(
            "model          none, so tools are found by words only: {}",
            report::chain(error)
        ))?,
    }
    out.line(format!("tools          {} on {} servers\n", snapshot.len(), snapshot.servers().len()))?;
    let rows = statuses.iter().map(|status| {
        let state =
            serde_json::to_value(status.state).ok().and_then(|state| state.as_str().map(str::to_owned));
        let tools = snapshot
            .count_of(&status.server)
            .map_or_else(|| "not listed yet".to_owned(), |count| count.to_string());
        vec![
            status.server.clone(),
            state.unwrap_or_default(),
            tools,
            status.reason.clone().unwrap_or_default(),
        ]
    });
    out.table(&["server", "state", "tools", ""], rows)?;
    Ok(Exit::Done)
}
