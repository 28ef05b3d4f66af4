//! The file that vectors and graph are kept in between two starts: one block, with a checksum. It is a cache of a cache:
//! whatever is wrong with it, it is not used, and written anew.
//!
//! Little-endian: [`MAGIC`]; SHA-256 of the model's id; dimensions, rows, nodes and entries as 32-bit numbers; a hash
//! for the text of each row; the rows; the graph's links; its entries; SHA-256 of all before.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    Vectors,
    graph::{Graph, LINKS},
    rows::TextHash,
    vectors::ROWS_TOGETHER,
};

/// Begins the file; ends with the version of the format.
const MAGIC: &[u8; 16] = b"orchestrator i\x01\n";

/// What a file holds.
pub(super) struct Kept {
    /// Hash of the text of each row.
    pub texts: Vec<TextHash>,
    pub vectors: Vectors,
    pub graph: Option<Graph>,
}

impl Kept {
    /// Number of nodes of the graph.
    pub(super) fn nodes(&self) -> usize {
        self.graph.as_ref().map_or(0, Graph::len)
    }
}

/// Reads a file of vectors of that model. None where there is none, or it is of another model, or damaged.
pub(super) fn read(file: &Path, model: &str, dimensions: usize) -> Option<Kept> {
    match try_read(file, model, dimensions) {
        Ok(kept) => Some(kept),
        Err(error) => {
            tracing::debug!("the index in {} is not used: {error}", file.display());
            None
        }
    }
}

fn try_read(file: &Path, model: &str, dimensions: usize) -> io::Result<Kept> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    let mut source = Source { file, hasher: Sha256::new() };
    if source.bytes(MAGIC.len())? != MAGIC || source.bytes(32)? != Sha256::digest(model)[..] {
        return Err(io::Error::other("it is of another version or model"));
    }
    let numbers = source.numbers(4)?;
    let [found, rows, nodes, entries] = [0, 1, 2, 3].map(|at| numbers[at] as usize);
    // Before memory is asked for.
    let expected =
        MAGIC.len() + 32 + 16 + rows * (32 + 2 * dimensions) + nodes * LINKS * 4 + entries * 4 + 32;
    if found != dimensions || nodes > rows || u64::try_from(expected) != Ok(length) {
        return Err(io::Error::other("its length is another"));
    }
    let texts = source.bytes(rows * 32)?.as_chunks().0.to_vec();
    let mut vectors = Vectors::new(dimensions);
    while vectors.len() < rows {
        let count = ROWS_TOGETHER.min(rows - vectors.len());
        let bytes = source.bytes(count * dimensions * 2)?;
        vectors.push_part(bytes.as_chunks().0.iter().map(|value| i16::from_le_bytes(*value)).collect());
    }
    let (links, entries) = (source.numbers(nodes * LINKS)?, source.numbers(entries)?);
    let expected = source.hasher.clone().finalize();
    if source.bytes(32)? != expected[..] {
        return Err(io::Error::other("its checksum is another"));
    }
    let graph = if nodes > 0 {
        Some(Graph::new(links, entries).ok_or_else(|| io::Error::other("its graph is none"))?)
    } else {
        None
    };
    Ok(Kept { texts, vectors, graph })
}

/// A file that is summed up while it is read.
struct Source {
    file: File,
    hasher: Sha256,
}

impl Source {
    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn numbers(&mut self, count: usize) -> io::Result<Vec<u32>> {
        let bytes = self.bytes(count * 4)?;
        Ok(bytes.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }
}

/// Writes a file beside the old one and puts it in its place, so that no reader meets half of it. Two processes that
/// write at the same time may spoil each other's: then it is not used, and written anew.
pub(super) fn write(
    file: &Path,
    model: &str,
    texts: &[TextHash],
    vectors: &Vectors,
    graph: Option<&Graph>,
) -> io::Result<()> {
    // Always the same, so that a process that ends in between leaves one such file at most.
    let new = file.with_extension("index.new");
    let written = try_write(&new, model, texts, vectors, graph).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // Half of it is of no use; it may not even be there.
        fs::remove_file(&new).ok();
    }
    written
}

fn try_write(
    file: &Path,
    model: &str,
    texts: &[TextHash],
    vectors: &Vectors,
    graph: Option<&Graph>,
) -> io::Result<()> {
    let mut target = Target { file: BufWriter::new(File::create(file)?), hasher: Sha256::new() };
    let (links, entries) = graph.map_or_else(Default::default, |graph| (graph.links(), graph.entries()));
    let counts = [vectors.dimensions(), vectors.len(), links.len() / LINKS, entries.len()];
    target.bytes(MAGIC)?;
    target.bytes(&Sha256::digest(model))?;
    for count in counts {
        let count = u32::try_from(count).map_err(|_| io::Error::other("there are too many rows"))?;
        target.bytes(&count.to_le_bytes())?;
    }
    target.bytes(texts.as_flattened())?;
    for part in vectors.parts() {
        target.bytes(&part.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    for numbers in links.chunks(1 << 16).chain([entries]) {
        target.bytes(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    let sum = target.hasher.clone().finalize();
    target.bytes(&sum)?;
    target.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A file that is summed up while it is written.
struct Target {
    file: BufWriter<File>,
    hasher: Sha256,
}

impl Target {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(rows: usize) -> (Vec<TextHash>, Vectors, Graph) {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut texts, mut vectors, mut graph) = (Vec::new(), Vectors::new(5), Graph::default());
        for _ in 0..rows {
            let mut text = [0; 32];
            random.fill(&mut text);
            texts.push(text);
            vectors.push(&[0; 5].map(|_| random.i16(-9..9)));
            graph.insert(&vectors);
        }
        (texts, vectors, graph)
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.index");
        for rows in [0, 1, 70, ROWS_TOGETHER + 3] {
            let (texts, vectors, graph) = some(rows);
            for graph in [None, Some(&graph).filter(|_| rows > 0)] {
                write(&file, "model", &texts, &vectors, graph).unwrap();
                let kept = read(&file, "model", 5).unwrap();
                assert_eq!(kept.texts, texts);
                assert!(kept.vectors.parts().eq(vectors.parts()));
                assert_eq!(kept.graph.as_ref(), graph);
            }
            assert!(read(&file, "another model", 5).is_none());
            assert!(read(&file, "model", 6).is_none());
        }
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.index");
        assert!(read(&file, "model", 5).is_none());
        let (texts, vectors, graph) = some(70);
        write(&file, "model", &texts, &vectors, Some(&graph)).unwrap();
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&file, damaged).unwrap();
            assert!(read(&file, "model", 5).is_none(), "changed at {at}");
            fs::write(&file, &whole[..at]).unwrap();
            assert!(read(&file, "model", 5).is_none(), "cut at {at}");
        }
        fs::write(&file, [whole.as_slice(), b"more"].concat()).unwrap();
        assert!(read(&file, "model", 5).is_none());
    }
}
