//! The model that is part of the program (feature `embed-model`), so that it works wherever it is put.

/// A file of a model: its path in the model's folder, and its content.
pub(super) type File = (&'static str, &'static [u8]);

/// The files of the model of that name, if it is the one that was built in.
#[cfg(feature = "embed-model")]
pub(super) fn files(name: &str) -> Option<&'static [File]> {
    macro_rules! files {
        ($($path:literal),+ $(,)?) => {
            &[$(($path, include_bytes!(concat!("../../models/tool-encoder-v1/", $path)))),+]
        };
    }
    static FILES: &[File] = files![
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ];
    (name == super::DEFAULT_MODEL).then_some(FILES)
}

/// None is built in.
#[cfg(not(feature = "embed-model"))]
pub(super) fn files(_name: &str) -> Option<&'static [File]> {
    None
}
