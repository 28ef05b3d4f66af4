//! The sentence-transformer itself: tokenizer, a forward pass, pooling.

use std::borrow::Cow;

use candle_core::{Device, Tensor};
use candle_transformers::models::bert::{BertModel, Config};
use rayon::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use super::{EmbedError, Embedding, ModelFiles, Purpose, bert::Bert, weights};

/// Tokens of one forward pass, padding included: short texts gain by sharing one, long ones lose.
const MAX_PASS_TOKENS: usize = 128;

/// A loaded model on the CPU.
pub struct Encoder {
    model: Model,
    tokenizer: Tokenizer,
    pooling: Pooling,
    prefixes: Prefixes,
    dimensions: usize,
}

enum Model {
    /// Of packed weights, computed here.
    Packed(Bert),
    /// Of any others, computed by candle.
    Candle(BertModel),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    /// Mean over the tokens of a text.
    Mean,
    /// The first token stands for the text.
    FirstToken,
}

/// What goes before a text, by its purpose.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Prefixes {
    query: String,
    document: String,
}

/// `1_Pooling/config.json` of sentence-transformers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the file's own form")]
struct PoolingConfig {
    pooling_mode_mean_tokens: bool,
    pooling_mode_cls_token: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

/// `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptConfig {
    prompts: std::collections::BTreeMap<String, String>,
}

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

impl Encoder {
    /// Loads a model from its files.
    pub fn load(files: &ModelFiles) -> Result<Self, EmbedError> {
        check_modules(files)?;
        let config: Config = read_json(files, "config.json")?
            .ok_or_else(|| EmbedError::MissingFile { file: files.path("config.json") })?;
        if config.model_type.as_deref().is_some_and(|kind| kind != "bert") {
            let kind = config.model_type.as_deref().unwrap_or_default();
            return Err(files
                .unsupported("config.json", format!("model type {kind:?} is not supported, only \"bert\"")));
        }
        let sentence: SentenceConfig = read_json(files, "sentence_bert_config.json")?.unwrap_or_default();
        let limit = sentence
            .max_seq_length
            .unwrap_or(config.max_position_embeddings)
            .min(config.max_position_embeddings);
        let prompts: PromptConfig =
            read_json(files, "config_sentence_transformers.json")?.unwrap_or_default();
        Ok(Self {
            pooling: pooling(files)?,
            tokenizer: load_tokenizer(files, limit)?,
            model: load_weights(files, &config)?,
            prefixes: prefixes(&prompts),
            dimensions: config.hidden_size,
        })
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Number of tokens of a text as the model sees it, cut to its limit, special tokens included.
    pub fn token_count(&self, text: &str, purpose: Purpose) -> Result<usize, EmbedError> {
        Ok(self.tokenize(text, purpose)?.len())
    }

    /// Embeds texts, `[texts]` to `[texts, hidden]`. Those of like length share a forward pass, as
    /// long as it stays small.
    pub fn encode(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Embedding>, EmbedError> {
        let encodings =
            texts.iter().map(|text| self.tokenize(text, purpose)).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
        let mut embeddings = vec![None; texts.len()];
        let passes = passes(&lengths, MAX_PASS_TOKENS);
        let compute = |pass: &Vec<usize>| {
            let together: Vec<&Encoding> = pass.iter().map(|place| &encodings[*place]).collect();
            self.encode_together(&together)
        };
        let computed: Vec<Vec<Embedding>> = match &self.model {
            // One pass is on its way sooner without another thread, and candle uses all of them itself.
            Model::Packed(_) if passes.len() > 1 => {
                passes.par_iter().map(compute).collect::<Result<_, _>>()?
            }
            _ => passes.iter().map(compute).collect::<Result<_, _>>()?,
        };
        for (place, embedding) in passes.into_iter().flatten().zip(computed.into_iter().flatten()) {
            embeddings[place] = Some(embedding);
        }
        Ok(embeddings.into_iter().flatten().collect())
    }

    /// One forward pass.
    fn encode_together(&self, encodings: &[&Encoding]) -> Result<Vec<Embedding>, EmbedError> {
        let (states, rows) = match &self.model {
            Model::Packed(model) => {
                let texts: Vec<&[u32]> = encodings.iter().map(|encoding| encoding.get_ids()).collect();
                (model.forward(&texts), encodings.iter().map(|encoding| encoding.len()).collect())
            }
            Model::Candle(model) => {
                let longest = encodings.iter().map(|encoding| encoding.len()).max().unwrap_or_default();
                let states = forward(model, encodings, longest)
                    .map_err(|error| EmbedError::Compute(error.to_string()))?;
                (states, vec![longest; encodings.len()])
            }
        };
        let mut rest = states.as_slice();
        let mut embeddings = Vec::with_capacity(encodings.len());
        for (encoding, rows) in encodings.iter().zip(rows) {
            let (text, others) = rest.split_at(rows * self.dimensions);
            rest = others;
            let pooled = self.pool(&text[..encoding.len() * self.dimensions]);
            let embedding = Embedding::normalized(pooled);
            embeddings
                .push(embedding.ok_or_else(|| EmbedError::Compute("a vector without direction".to_owned()))?);
        }
        Ok(embeddings)
    }

    fn tokenize(&self, text: &str, purpose: Purpose) -> Result<Encoding, EmbedError> {
        let prefix = match purpose {
            Purpose::Query => &self.prefixes.query,
            Purpose::Document => &self.prefixes.document,
        };
        let encoded = if prefix.is_empty() {
            self.tokenizer.encode_fast(text, true)
        } else {
            self.tokenizer.encode_fast(format!("{prefix}{text}"), true)
        };
        encoded.map_err(|error| EmbedError::Compute(format!("the text cannot be tokenized: {error}")))
    }

    /// One vector from the states of a text's own tokens, `[tokens, hidden]` to `[hidden]`.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        match self.pooling {
            Pooling::FirstToken => states[..self.dimensions].to_vec(),
            // The sum has the direction of the mean, and the length is set to 1 anyway.
            Pooling::Mean => {
                states.chunks_exact(self.dimensions).fold(vec![0.0; self.dimensions], |mut sum, token| {
                    sum.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                    sum
                })
            }
        }
    }
}

/// Token states of padded texts, row after row: `[texts, longest, hidden]`.
fn forward(model: &BertModel, encodings: &[&Encoding], longest: usize) -> candle_core::Result<Vec<f32>> {
    let shape = (encodings.len(), longest);
    let padded = |values: fn(&Encoding) -> &[u32]| {
        let mut flat = Vec::with_capacity(shape.0 * shape.1);
        for encoding in encodings {
            flat.extend_from_slice(values(encoding));
            flat.resize(flat.len() + longest - encoding.len(), 0);
        }
        Tensor::from_vec(flat, shape, &Device::Cpu)
    };
    let ids = padded(Encoding::get_ids)?;
    let types = padded(Encoding::get_type_ids)?;
    let all_full = encodings.iter().all(|encoding| encoding.len() == longest);
    let mask = if all_full { None } else { Some(padded(Encoding::get_attention_mask)?) };
    model.forward(&ids, &types, mask.as_ref())?.flatten_all()?.to_vec1()
}

/// Places of texts that share a forward pass: shortest first, each pass at most `limit` tokens with
/// its padding, or one text.
fn passes(lengths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|place| lengths[*place]);
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for place in order {
        // Sorted by length: the newest is the longest of its pass.
        match passes.last_mut() {
            Some(pass) if (pass.len() + 1) * lengths[place] <= limit => pass.push(place),
            _ => passes.push(vec![place]),
        }
    }
    passes
}

fn load_tokenizer(files: &ModelFiles, limit: usize) -> Result<Tokenizer, EmbedError> {
    let file = "tokenizer.json";
    let unsupported = |error: tokenizers::Error| files.unsupported(file, error.to_string());
    let mut tokenizer = Tokenizer::from_bytes(required(files, file)?).map_err(unsupported)?;
    // The file may carry fixed padding and another limit; ours are those of the sentence-transformer.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(Some(TruncationParams { max_length: limit, ..TruncationParams::default() }))
        .map_err(unsupported)?;
    Ok(tokenizer)
}

fn load_weights(files: &ModelFiles, config: &Config) -> Result<Model, EmbedError> {
    let file = "model.safetensors";
    let content = required(files, file)?;
    let unsupported = |error: candle_core::Error| files.unsupported(file, error.to_string());
    if let Some(model) = Bert::load(content.clone(), config).map_err(unsupported)? {
        if let Cow::Borrowed(content) = content {
            super::built_in::release(content);
        }
        return Ok(Model::Packed(model));
    }
    let weights = weights::read(&content).map_err(unsupported)?;
    BertModel::load(weights, config).map(Model::Candle).map_err(unsupported)
}

/// Transformer, pooling and normalisation are what we compute; a further layer would be left out
/// silently, and every vector would be wrong.
fn check_modules(files: &ModelFiles) -> Result<(), EmbedError> {
    let file = "modules.json";
    let modules: Vec<Module> = read_json(files, file)?.unwrap_or_default();
    let unknown = modules
        .iter()
        .map(|module| module.kind.rsplit('.').next().unwrap_or_default())
        .find(|kind| !matches!(*kind, "Transformer" | "Pooling" | "Normalize"));
    match unknown {
        None => Ok(()),
        Some(kind) => Err(files.unsupported(
            file,
            format!("it asks for a layer \"{kind}\"; only Transformer, Pooling and Normalize are supported"),
        )),
    }
}

fn pooling(files: &ModelFiles) -> Result<Pooling, EmbedError> {
    let file = "1_Pooling/config.json";
    let Some(config) = read_json::<PoolingConfig>(files, file)? else {
        return Ok(Pooling::Mean);
    };
    let others = config.pooling_mode_max_tokens
        || config.pooling_mode_mean_sqrt_len_tokens
        || config.pooling_mode_weightedmean_tokens
        || config.pooling_mode_lasttoken;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::FirstToken),
        _ => Err(files.unsupported(
            file,
            "only pooling by mean or by first token, and one of them, is supported".to_owned(),
        )),
    }
}

/// The names under which sentence-transformers keep prompts for the two purposes.
fn prefixes(config: &PromptConfig) -> Prefixes {
    let first =
        |names: &[&str]| names.iter().find_map(|name| config.prompts.get(*name)).cloned().unwrap_or_default();
    Prefixes { query: first(&["query", "s2p_query"]), document: first(&["document", "passage"]) }
}

fn required(files: &ModelFiles, file: &str) -> Result<Cow<'static, [u8]>, EmbedError> {
    files.read(file)?.ok_or_else(|| EmbedError::MissingFile { file: files.path(file) })
}

/// A JSON file, or none when it is not there.
fn read_json<T: DeserializeOwned>(files: &ModelFiles, file: &str) -> Result<Option<T>, EmbedError> {
    files
        .read(file)?
        .map(|content| serde_json::from_slice(&content))
        .transpose()
        .map_err(|error| files.unsupported(file, error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{DEFAULT_MODEL, ModelSource},
        *,
    };

    fn written(path: &str, content: &str) -> (tempfile::TempDir, ModelFiles) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        let files = ModelFiles::of_folder(folder.path());
        (folder, files)
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_pass_and_none_is_too_large(
            lengths in prop::collection::vec(1_usize..300, 0..40), limit in 1_usize..600,
        ) {
            let passes = passes(&lengths, limit);
            let mut places: Vec<usize> = passes.iter().flatten().copied().collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..lengths.len()).collect::<Vec<_>>());
            for pass in passes {
                let longest = pass.iter().map(|place| lengths[*place]).max().unwrap_or_default();
                prop_assert!(pass.len() == 1 || pass.len() * longest <= limit);
            }
        }
    }

    #[test]
    fn pooling_is_read_from_the_models_own_file() {
        for (content, expected) in [
            (r#"{"pooling_mode_mean_tokens": true, "word_embedding_dimension": 4}"#, Some(Pooling::Mean)),
            (r#"{"pooling_mode_cls_token": true}"#, Some(Pooling::FirstToken)),
            (r#"{"pooling_mode_max_tokens": true}"#, None),
            (r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#, None),
        ] {
            let (_folder, files) = written("1_Pooling/config.json", content);
            assert_eq!(pooling(&files).ok(), expected, "{content}");
        }
        let (_folder, files) = written("config.json", "{}");
        assert_eq!(pooling(&files).unwrap(), Pooling::Mean);
    }

    #[test]
    fn a_layer_that_we_do_not_compute_is_refused() {
        let (_folder, files) = written("modules.json", r#"[{"type": "sentence_transformers.models.Dense"}]"#);
        assert!(check_modules(&files).unwrap_err().to_string().contains("Dense"));
    }

    /// Our forward pass against candle's, over the texts of real tools and short, empty and overlong ones.
    #[test]
    fn packed_weights_give_the_vectors_that_candle_gives() {
        let source = ModelSource { model: DEFAULT_MODEL.to_owned(), downloads: std::path::PathBuf::new() };
        let files = source.resolve().unwrap();
        let mut encoder = Encoder::load(&files).unwrap();
        assert!(matches!(encoder.model, Model::Packed(_)));
        let lines = include_str!("../../tests/data/sample-tools.jsonl").lines();
        let long = "what time is it in Tokyo ".repeat(100);
        let texts: Vec<&str> = lines.chain(["", "time?", "你好，现在几点", &long]).collect();
        let ours = encoder.encode(&texts, Purpose::Document).unwrap();
        let config: Config = read_json(&files, "config.json").unwrap().unwrap();
        let weights = weights::read(&required(&files, "model.safetensors").unwrap()).unwrap();
        encoder.model = Model::Candle(BertModel::load(weights, &config).unwrap());
        let theirs = encoder.encode(&texts, Purpose::Document).unwrap();
        for ((text, ours), theirs) in texts.iter().zip(&ours).zip(&theirs) {
            let cosine: f32 = ours.as_slice().iter().zip(theirs.as_slice()).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.9999, "{cosine} for {text}");
        }
    }

    #[test]
    fn prompts_become_prefixes() {
        let config: PromptConfig =
            serde_json::from_str(r#"{"prompts": {"query": "query: ", "passage": "passage: "}}"#).unwrap();
        assert_eq!(prefixes(&config), Prefixes { query: "query: ".into(), document: "passage: ".into() });
    }
}
