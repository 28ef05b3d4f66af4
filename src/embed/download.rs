//! Fetches a known model from the Hugging Face hub at its pinned revision. A file takes its place
//! only after its size and checksum were found right.

use std::{fs, path::Path, time::Duration};

use hf_hub::HFClient;

use super::{EmbedError, KnownModel, Manifest, ModelSource, Place};

/// For all files together; a slow line needs minutes for 90 MB.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);

/// Downloads all files of `model` into `folder/NAME`, and checks them.
pub async fn download(
    model: &KnownModel,
    folder: &Path,
    mut progress: impl FnMut(&str),
) -> Result<(), EmbedError> {
    let failed = |problem: String| EmbedError::Download { name: model.name.clone(), problem };
    let hub = model.hub.as_ref().ok_or_else(|| failed("it comes with the program's source".to_owned()))?;
    if std::env::var_os("HF_HUB_OFFLINE").is_some_and(|value| value == "1" || value == "true") {
        return Err(failed("HF_HUB_OFFLINE is set".to_owned()));
    }
    let (owner, name) =
        hub.repository.split_once('/').ok_or_else(|| failed("its repository has no owner".to_owned()))?;
    let partial = folder.join(format!(".{}.partial", model.name));
    fs::create_dir_all(&partial).map_err(|error| failed(format!("{}: {error}", partial.display())))?;
    let client =
        HFClient::builder().retry_max_attempts(2).build().map_err(|error| failed(error.to_string()))?;
    let repository = client.model(owner, name);
    for file in &model.files {
        progress(&file.path);
        repository
            .download_file()
            .filename(file.path.clone())
            .revision(hub.revision.clone())
            .local_dir(partial.clone())
            .send()
            .await
            .map_err(|error| failed(format!("{}: {error}", file.path)))?;
    }
    if let Some(wrong) =
        ModelSource::verify(&Place::Folder(partial.clone()), model).into_iter().find(|file| !file.ok)
    {
        return Err(failed(wrong.state));
    }
    let place = folder.join(&model.name);
    fs::remove_dir_all(&place).or_else(ignore_missing).map_err(|error| failed(error.to_string()))?;
    fs::rename(&partial, &place).map_err(|error| failed(format!("{}: {error}", place.display())))
}

/// The same on a thread of its own, for a source whose model was found nowhere.
pub(super) fn download_blocking(source: &ModelSource) -> Result<(), EmbedError> {
    let manifest = Manifest::built_in();
    let Some(model) = manifest.find(&source.model).filter(|model| model.hub.is_some()) else { return Ok(()) };
    let failed = |problem: String| EmbedError::Download { name: model.name.clone(), problem };
    tracing::info!("model {} is nowhere on this machine; fetching it from the hub", model.name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let fetch = download(model, &source.downloads, |file| tracing::info!("downloading {file}"));
    runtime
        .block_on(async { tokio::time::timeout(DOWNLOAD_LIMIT, fetch).await })
        .unwrap_or_else(|_| Err(failed(format!("not done within {} s", DOWNLOAD_LIMIT.as_secs()))))
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
