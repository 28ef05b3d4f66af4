//! The examples' part of the keeper: taking them in from the pack and from those who teach, examining
//! each against everything else that is known, and again when its tool changes.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Failure, Keeper};
use crate::{
    catalog::{Tool, text},
    digest,
    examples::{Examined, Example, Filter, Import, NewExample, Pack, Source, State, examine, thin_out, tidy},
    index::{IndexError, Quantized, Scored, Snapshot, Taught, Verdict, lexical},
};

/// Tools that match an example's words and are ranked; all by meaning are.
const MATCHING: usize = 512;

impl Keeper {
    /// Takes in the pack's examples for tools that are new or changed, examines what has to be, and
    /// shows readers the result.
    pub(super) fn settle_examples(&mut self) -> Result<(), Failure> {
        if self.snapshot.load().example_count() != self.kept_count()? {
            self.publish()?;
        }
        let snapshot = self.snapshot.load_full();
        let mut changed = self.import_pack(&snapshot)?;
        let off = self.examples.sources_off()?;
        let tools: HashMap<String, &Tool> = snapshot.tools().map(|tool| (tool.id(), tool)).collect();
        let mut examples = self.examples.list(&Filter::default())?;
        examples.retain(|example| {
            example.state != State::Removed
                && !off.contains(&example.source)
                && tools.contains_key(&id(example))
        });
        changed |= self.embed_examples(&examples)?;
        let of = |example: &Example| tools[&id(example)];
        let open: Vec<&Example> = examples
            .iter()
            .filter(|example| example.state == State::New || example.tool_hash != of(example).hash)
            .collect();
        if !open.is_empty() {
            // They are examined against everything else, so nothing may be found by them meanwhile.
            let anew = open.iter().map(|example| (example.id, State::New, None, ""));
            self.examples.judge(anew)?;
            self.publish()?;
            let examined = self.examine(&open)?;
            let verdicts = open.iter().zip(&examined).map(|(example, doubt)| {
                let state = if doubt.is_some() { State::Doubtful } else { State::Kept };
                (example.id, state, doubt.clone(), of(example).hash.as_str())
            });
            self.examples.judge(verdicts)?;
            changed = true;
        }
        if changed {
            self.publish()?;
        }
        Ok(())
    }

    /// Number of examples in use, of tools that are known.
    fn kept_count(&self) -> Result<usize, Failure> {
        let snapshot = self.snapshot.load();
        let mut count = 0;
        self.examples.each_kept(&self.examples.sources_off()?, |server, tool, _| {
            count += usize::from(snapshot.place(&format!("{server}:{tool}")).is_some());
        })?;
        Ok(count)
    }

    /// Takes in examples that somebody gives.
    pub(super) fn teach(&mut self, given: &[NewExample], source: Source) -> Result<Vec<Taught>, IndexError> {
        if !given.is_empty() && self.examples.sources_off()?.contains(&source) {
            let off = |example: &NewExample| Taught { example: example.clone(), verdict: Verdict::Off };
            return Ok(given.iter().map(off).collect());
        }
        let snapshot = self.snapshot.load_full();
        let is_known =
            |example: &NewExample| snapshot.find(&format!("{}:{}", example.server, example.tool)).is_some();
        let known: Vec<NewExample> = given.iter().filter(|example| is_known(example)).cloned().collect();
        let added = self.examples.add(&known, source)?;
        match self.settle_examples() {
            Ok(()) => {}
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(Failure::Examples(error)) => return Err(error.into()),
            Err(Failure::Embed(error)) => tracing::warn!("the examples wait for the model: {error}"),
        }
        if source == Source::Use {
            self.bound_use()?;
        }
        let kept = self.examples.list(&Filter::default())?;
        let verdict = |example: &NewExample| {
            if !is_known(example) {
                return Verdict::UnknownTool;
            }
            let text = tidy(&example.text);
            let same = |kept: &&Example| {
                kept.server == example.server && kept.tool == example.tool && kept.text == text
            };
            match kept.iter().find(same) {
                Some(kept) if !added.contains(&kept.id) => Verdict::Known,
                Some(Example { state: State::Kept, .. }) => Verdict::Kept,
                Some(Example { state: State::Doubtful, reason, .. }) => {
                    Verdict::Doubtful(reason.clone().unwrap_or_default())
                }
                Some(_) => Verdict::Waiting,
                None => Verdict::Doubtful("it has no words".to_owned()),
            }
        };
        Ok(given
            .iter()
            .map(|example| Taught { example: example.clone(), verdict: verdict(example) })
            .collect())
    }

    /// Takes in what the pack has for tools for which it was not asked yet. True if anything came.
    fn import_pack(&self, snapshot: &Snapshot) -> Result<bool, Failure> {
        let off = self.examples.sources_off()?;
        if off.contains(&Source::Pack) {
            return Ok(false);
        }
        let version = Pack::shipped_version();
        let known: HashSet<[String; 4]> = self.examples.imports()?.into_iter().collect();
        let mut sought = Vec::new();
        for tool in snapshot.tools() {
            let words = self.servers.get(&tool.server).map_or(&[][..], |server| &server.words);
            let import = Import {
                server: tool.server.clone(),
                tool: tool.name().to_owned(),
                pack: version.clone(),
                tool_hash: tool.hash.clone(),
                sought: digest::sha256(&[&tool.hash, &words.join(" ")]),
            };
            let Import { server, tool: name, pack, sought: by, .. } = &import;
            if !known.contains(&[server, name, pack, by].map(String::clone)) {
                sought.push((tool, words, import));
            }
        }
        if sought.is_empty() {
            return Ok(false);
        }
        // Reading it takes some time and memory, so it is not kept.
        let pack = Pack::shipped();
        let mut any = false;
        for (tool, words, import) in sought {
            let found = pack.find(tool, words);
            let examples = found.as_ref().map(|found| found.examples(tool)).unwrap_or_default();
            self.examples.import(&import, &examples, found.is_some_and(|found| found.exact))?;
            any |= !examples.is_empty();
        }
        Ok(any)
    }

    /// Embeds the examples that have no vector yet. True if there were any.
    fn embed_examples(&self, examples: &[Example]) -> Result<bool, Failure> {
        let have = self.store.text_hashes_with_vector(&self.model()?.id)?;
        let texts = examples.iter().map(|example| (text::example_hash(&example.text), example.text.clone()));
        let missing: BTreeMap<String, String> = texts.filter(|(hash, _)| !have.contains(hash)).collect();
        Ok(!self.embed(missing, |_, _| ())?.is_empty())
    }

    /// The vectors of examples, by the hashes of their texts.
    fn vectors<'a>(
        &self,
        examples: impl IntoIterator<Item = &'a Example>,
    ) -> Result<HashMap<String, Quantized>, Failure> {
        let facts = self.model()?;
        let hashes: Vec<String> =
            examples.into_iter().map(|example| text::example_hash(&example.text)).collect();
        let mut vectors = HashMap::with_capacity(hashes.len());
        let hashes = hashes.iter().map(String::as_str);
        self.store.each_vector(&facts.id, facts.dimensions, hashes, |text, values| {
            vectors.insert(text.to_owned(), Quantized::new(values));
        })?;
        Ok(vectors)
    }

    /// Why each of the examples is set aside, if it is.
    fn examine(&self, open: &[&Example]) -> Result<Vec<Option<String>>, Failure> {
        let vectors = self.vectors(open.iter().copied())?;
        let snapshot = self.snapshot.load_full();
        let mut kept: Vec<(String, &Quantized)> = Vec::new();
        let mut doubts = Vec::with_capacity(open.len());
        for example in open {
            let id = id(example);
            let (Some(place), Some(vector)) =
                (snapshot.place(&id), vectors.get(&text::example_hash(&example.text)))
            else {
                doubts.push(Some("its tool is gone".to_owned()));
                continue;
            };
            let mut examined = self.rank(&snapshot, place, &example.text, vector)?;
            // Nor may it be that of another tool that came along with it.
            let beside = kept.iter().filter(|(other, _)| *other != id);
            let nearest = beside.map(|(other, other_vector)| (other, vector.cosine(other_vector)));
            if let Some((other, cosine)) = nearest.max_by(|left, right| left.1.total_cmp(&right.1))
                && examined.nearest_other.as_ref().is_none_or(|(_, known)| *known < cosine)
            {
                examined.nearest_other = Some((other.clone(), cosine));
            }
            let doubt = examine(&example.tool, &example.text, &examined);
            if doubt.is_none() {
                kept.push((id, vector));
            }
            doubts.push(doubt.map(|doubt| doubt.to_string()));
        }
        Ok(doubts)
    }

    /// Where the tool at `place` stands for an example by everything else that is known of it.
    fn rank(
        &self,
        snapshot: &Snapshot,
        place: usize,
        example: &str,
        vector: &Quantized,
    ) -> Result<Examined, Failure> {
        let words = lexical::search(&self.store, example, MATCHING)?;
        let words: HashMap<usize, f32> = words
            .into_iter()
            .filter_map(|(row_id, score)| Some((snapshot.place_of_row_id(row_id)?, score)))
            .collect();
        let score = |place: usize| {
            let bm25 = words.get(&place).copied().unwrap_or_default();
            Scored::new(snapshot, place, Some(vector), bm25).score
        };
        let own = score(place);
        let (mut rank, mut best, mut best_score) = (1, place, own);
        for other in (0..snapshot.len()).filter(|other| *other != place) {
            let score = score(other);
            rank += usize::from(score > own);
            if score > best_score {
                (best, best_score) = (other, score);
            }
        }
        let nearest = snapshot.nearest_example_of_another(place, vector);
        Ok(Examined {
            rank: Some(rank),
            best: snapshot.tool(best).id(),
            nearest_other: nearest.map(|(place, cosine)| (snapshot.tool(place).id(), cosine)),
        })
    }

    /// Keeps the number of examples from use within bounds.
    fn bound_use(&mut self) -> Result<(), IndexError> {
        let examples = self.examples.list(&Filter { source: Some(Source::Use), ..Filter::default() })?;
        let vectors = match self.vectors(&examples) {
            Ok(vectors) => vectors,
            Err(Failure::Store(error)) => return Err(error.into()),
            Err(_) => HashMap::new(),
        };
        let vector = |example: &Example| vectors.get(&text::example_hash(&example.text));
        let out = thin_out(&examples, |left, right| match (vector(left), vector(right)) {
            (Some(left), Some(right)) => left.cosine(right),
            _ => 0.0,
        });
        if out.is_empty() {
            return Ok(());
        }
        self.examples.remove(&out)?;
        match self.publish() {
            Err(Failure::Store(error)) => Err(error.into()),
            Err(Failure::Examples(error)) => Err(error.into()),
            Err(Failure::Embed(_)) | Ok(()) => Ok(()),
        }
    }
}

fn id(example: &Example) -> String {
    format!("{}:{}", example.server, example.tool)
}
