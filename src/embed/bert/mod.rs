//! The forward pass of BERT with packed weights (Devlin et al., 2018): the same sums as candle's, in the order that a
//! processor likes best. Texts are not padded: their tokens stand one after the other, and only attention keeps them
//! apart.

#![expect(
    clippy::inline_always,
    reason = "else it would not be compiled with the instructions of its caller"
)]

mod attention;
mod kernel;
mod linear;
mod math;
mod stored;

use std::borrow::Cow;

use candle_transformers::models::bert::{Config, HiddenAct, PositionEmbeddingType};

use self::{
    attention::Attention,
    kernel::{Kernel, Portable},
    linear::{Linear, Rounded},
    math::{add, gelu, normalize},
    stored::{Stored, Table},
};

/// The table of the vocabulary.
const WORDS: &str = "embeddings.word_embeddings";

/// A model of packed weights.
pub(super) struct Bert {
    /// Tables stay where they are: of a vocabulary few rows are ever read.
    file: Cow<'static, [u8]>,
    words: Table,
    positions: Table,
    /// Of the first type, which all tokens of a single text have, `[hidden]`.
    kind: Vec<f32>,
    normalize: Scale,
    layers: Vec<Layer>,
    hidden: usize,
    heads: usize,
    epsilon: f32,
    kernel: AnyKernel,
}

/// What a normalisation multiplies with and adds, `[hidden]` each.
struct Scale {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    /// Query, key and value, `[hidden]` to `[3 * hidden]`.
    attention: Linear,
    merge: Linear,
    after_attention: Scale,
    widen: Linear,
    narrow: Linear,
    after: Scale,
}

/// The kernel for this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnyKernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(kernel::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(kernel::Avx512),
}

impl AnyKernel {
    /// The fastest one that the processor can run.
    fn find() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let best = kernel::Avx512::find().map(Self::Avx512);
            best.or_else(|| kernel::Avx2::find().map(Self::Avx2)).unwrap_or(Self::Portable)
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }
}

impl Bert {
    /// A model from a safetensors file. None where the file is not packed, or the model is of a kind that is not
    /// computed here: candle does both.
    pub(super) fn load(file: Cow<'static, [u8]>, config: &Config) -> candle_core::Result<Option<Self>> {
        let stored = Stored::new(&file)?;
        let is_plain = matches!(config.hidden_act, HiddenAct::Gelu)
            && config.position_embedding_type == PositionEmbeddingType::Absolute
            && config.num_attention_heads > 0
            && config.hidden_size.is_multiple_of(config.num_attention_heads);
        if !is_plain || !stored.is_packed(WORDS) {
            return Ok(None);
        }
        let hidden = config.hidden_size;
        let layers = (0..config.num_hidden_layers).map(|at| Layer::load(&stored, at, config));
        Ok(Some(Self {
            words: stored.table(WORDS, hidden)?,
            positions: stored.table("embeddings.position_embeddings", hidden)?,
            kind: stored.table("embeddings.token_type_embeddings", hidden)?.row(&file, 0).collect(),
            normalize: stored.scale("embeddings.LayerNorm", hidden)?,
            layers: layers.collect::<candle_core::Result<_>>()?,
            hidden,
            heads: config.num_attention_heads,
            #[expect(clippy::cast_possible_truncation, reason = "too small to matter")]
            epsilon: config.layer_norm_eps as f32,
            kernel: AnyKernel::find(),
            file,
        }))
    }

    /// States of all tokens of the texts, one after the other: `[tokens of all, hidden]`.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Vec<f32> {
        match self.kernel {
            AnyKernel::Portable => Portable.run(|| self.forward_by(Portable, texts)),
            #[cfg(target_arch = "x86_64")]
            AnyKernel::Avx2(kernel) => kernel.run(|| self.forward_by(kernel, texts)),
            #[cfg(target_arch = "x86_64")]
            AnyKernel::Avx512(kernel) => kernel.run(|| self.forward_by(kernel, texts)),
        }
    }

    /// Compiled once for each kernel, all of it with the kernel's instructions.
    #[inline(always)]
    fn forward_by(&self, kernel: impl Kernel, texts: &[&[u32]]) -> Vec<f32> {
        let mut states = self.embed(texts);
        let (mut rounded, mut wide, mut part) = (Rounded::default(), Vec::new(), Vec::new());
        let (mut attention, mut context) = (Attention::default(), vec![0.0; states.len()]);
        for layer in &self.layers {
            layer.attention.apply(kernel, &states, &mut rounded, &mut wide);
            let mut first = 0;
            for text in texts {
                let tokens = first..first + text.len();
                first = tokens.end;
                let inputs = &wide[tokens.start * 3 * self.hidden..tokens.end * 3 * self.hidden];
                let output = &mut context[tokens.start * self.hidden..tokens.end * self.hidden];
                attention.apply(kernel, inputs, self.heads, output, self.hidden);
            }
            layer.merge.apply(kernel, &context, &mut rounded, &mut part);
            add(&mut states, &part);
            layer.after_attention.normalize(&mut states, self.epsilon);
            layer.widen.apply(kernel, &states, &mut rounded, &mut wide);
            gelu(&mut wide);
            layer.narrow.apply(kernel, &wide, &mut rounded, &mut part);
            add(&mut states, &part);
            layer.after.normalize(&mut states, self.epsilon);
        }
        states
    }

    /// What the tokens are before the first layer.
    #[inline(always)]
    fn embed(&self, texts: &[&[u32]]) -> Vec<f32> {
        let mut states = Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() * self.hidden);
        for text in texts {
            for (position, token) in text.iter().enumerate() {
                let word = self.words.row(&self.file, *token as usize);
                let place = self.positions.row(&self.file, position);
                let sums = word.zip(place).zip(&self.kind).map(|((word, place), kind)| word + place + kind);
                states.extend(sums);
            }
        }
        self.normalize.normalize(&mut states, self.epsilon);
        states
    }
}

impl Layer {
    fn load(stored: &Stored<'_>, at: usize, config: &Config) -> candle_core::Result<Self> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{at}.{part}");
        let attention = ["query", "key", "value"]
            .map(|part| stored.dense(&name(&format!("attention.self.{part}")), hidden, hidden));
        let [query, key, value] = attention;
        Ok(Self {
            attention: Linear::new(&[query?, key?, value?]),
            merge: Linear::new(&[stored.dense(&name("attention.output.dense"), hidden, hidden)?]),
            after_attention: stored.scale(&name("attention.output.LayerNorm"), hidden)?,
            widen: Linear::new(&[stored.dense(&name("intermediate.dense"), hidden, wide)?]),
            narrow: Linear::new(&[stored.dense(&name("output.dense"), wide, hidden)?]),
            after: stored.scale(&name("output.LayerNorm"), hidden)?,
        })
    }
}

impl Scale {
    #[inline(always)]
    fn normalize(&self, states: &mut [f32], epsilon: f32) {
        normalize(states, &self.weight, &self.bias, epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ModelSource, *};

    #[test]
    fn every_processor_gives_the_same_bits() {
        let source = ModelSource {
            model: crate::embed::DEFAULT_MODEL.to_owned(),
            downloads: std::path::PathBuf::new(),
        };
        let files = source.resolve().unwrap();
        let config = serde_json::from_slice(&files.read("config.json").unwrap().unwrap()).unwrap();
        let file = files.read("model.safetensors").unwrap().unwrap();
        let model = Bert::load(file, &config).unwrap().unwrap();
        let texts: [&[u32]; 3] =
            [&[101, 2051, 102], &[101, 2054, 2051, 2003, 2009, 1999, 5522, 102], &[101, 102]];
        let expected = model.forward_by(Portable, &texts);
        assert_eq!(expected.len(), 13 * 384);
        assert_eq!(model.forward(&texts), expected);
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = kernel::Avx2::find() {
            assert_eq!(kernel.run(|| model.forward_by(kernel, &texts)), expected);
        }
        // Texts beside it change nothing in one.
        assert_eq!(model.forward(&texts[1..2]), expected[3 * 384..11 * 384]);
    }
}
