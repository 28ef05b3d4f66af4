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

/// Gives the memory back that a file of the program takes, once what is needed of it was copied. It is read again from
/// the program's file when it is looked at.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is told of a range of memory")]
pub(super) fn release(content: &'static [u8]) {
    use rustix::mm::{Advice, madvise};
    let page = rustix::param::page_size();
    let first = content.as_ptr().addr().next_multiple_of(page);
    let last = (content.as_ptr().addr() + content.len()) / page * page;
    let offset = first - content.as_ptr().addr();
    if first < last && offset < content.len() {
        let start = content[offset..].as_ptr().cast_mut().cast();
        // SAFETY: whole pages of constant data, which nobody writes: read again, they are what they were.
        let done = unsafe { madvise(start, last - first, Advice::LinuxDontNeed) };
        if let Err(error) = done {
            tracing::debug!("memory was not given back: {error}");
        }
    }
}

/// Elsewhere it stays.
#[cfg(not(target_os = "linux"))]
pub(super) fn release(_content: &'static [u8]) {}
