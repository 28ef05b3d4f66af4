//! Fetches a known model from the Hugging Face hub at its pinned revision. A file takes its place
//! only after its size and checksum were found right.

use std::{fs, path::Path};

use hf_hub::HFClient;

use super::{EmbedError, KnownModel, ModelSource};

/// Downloads all files of `model` into `folder/NAME`, and checks them.
pub async fn download(
    model: &KnownModel,
    folder: &Path,
    mut progress: impl FnMut(&str),
) -> Result<(), EmbedError> {
    let failed = |problem: String| EmbedError::Download { name: model.name.clone(), problem };
    if std::env::var_os("HF_HUB_OFFLINE").is_some_and(|value| value == "1" || value == "true") {
        return Err(failed("HF_HUB_OFFLINE is set".to_owned()));
    }
    let (owner, name) =
        model.repository.split_once('/').ok_or_else(|| failed("its repository has no owner".to_owned()))?;
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
            .revision(model.revision.clone())
            .local_dir(partial.clone())
            .send()
            .await
            .map_err(|error| failed(format!("{}: {error}", file.path)))?;
    }
    if let Some(wrong) = ModelSource::verify(&partial, model).into_iter().find(|file| !file.ok) {
        return Err(failed(wrong.state));
    }
    let place = folder.join(&model.name);
    fs::remove_dir_all(&place).or_else(ignore_missing).map_err(|error| failed(error.to_string()))?;
    fs::rename(&partial, &place).map_err(|error| failed(format!("{}: {error}", place.display())))
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
