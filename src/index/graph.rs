//! A graph of near neighbours, packed: the lowest layer of HNSW (Malkov and Yashunin, 2016), and the nodes of its upper
//! layers to enter by. A node is a row of the vectors, and takes [`LINKS`] numbers, where the graph that it was built as
//! has an allocation for each link.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{Vectors, product};

/// Neighbours of a node, at most.
pub(super) const LINKS: usize = 48;
/// Neighbours that a new node chooses; the others are left to nodes that come later.
const CHOSEN: usize = LINKS / 2;
/// Breadth of the search for the neighbours of a new node.
const INSERT_BREADTH: usize = 200;
/// Nodes that a search goes out from.
const STARTS: usize = 4;
/// Of so many new nodes one can be entered by, about as many as in the graphs of the crate.
const ENTRY_EVERY: usize = 256;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// A node, and its product with what is searched: ordered by how near it is.
type Near = (i32, u32);

/// Links between rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Graph {
    /// `[nodes, LINKS]`, filled up with [`NONE`].
    links: Vec<u32>,
    /// Nodes that a search may begin at.
    entries: Vec<u32>,
}

impl Graph {
    /// A graph of those links and entries. None where one of them is no node.
    pub(super) fn new(links: Vec<u32>, entries: Vec<u32>) -> Option<Self> {
        let nodes = links.len() / LINKS;
        let is_node = |node: &u32| (*node as usize) < nodes;
        let is_whole = links.len().is_multiple_of(LINKS)
            && links.iter().all(|link| *link == NONE || is_node(link))
            && entries.iter().all(is_node)
            && (nodes == 0 || !entries.is_empty());
        is_whole.then_some(Self { links, entries })
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.links.len() / LINKS
    }

    /// All links, `[nodes, LINKS]`.
    pub(super) fn links(&self) -> &[u32] {
        &self.links
    }

    /// Nodes that a search may begin at.
    pub(super) fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// Up to `breadth` nodes that are near to a query, nearest first.
    pub(super) fn search(&self, vectors: &Vectors, query: &[i16], breadth: usize) -> Vec<Near> {
        let near = |node: u32| (product::dot(vectors.row(node as usize), query), node);
        let mut seen = Seen::new(self.len());
        let mut starts: Vec<Near> = self.entries.iter().map(|node| near(*node)).collect();
        starts.sort_unstable_by_key(|start| Reverse(*start));
        starts.truncate(STARTS);
        starts.retain(|(_, node)| seen.add(*node));
        let mut open: BinaryHeap<Near> = starts.iter().copied().collect();
        // The farthest is on top.
        let mut found: BinaryHeap<Reverse<Near>> = starts.into_iter().map(Reverse).collect();
        while let Some((product, node)) = open.pop() {
            if found.len() >= breadth && found.peek().is_some_and(|Reverse(farthest)| product < farthest.0) {
                break;
            }
            for neighbour in self.neighbours(node) {
                if !seen.add(neighbour) {
                    continue;
                }
                let candidate = near(neighbour);
                if found.len() < breadth {
                    found.push(Reverse(candidate));
                    open.push(candidate);
                } else if let Some(mut farthest) = found.peek_mut()
                    && candidate > farthest.0
                {
                    *farthest = Reverse(candidate);
                    open.push(candidate);
                }
            }
        }
        let mut found: Vec<Near> = found.into_iter().map(|Reverse(near)| near).collect();
        found.sort_unstable_by_key(|near| Reverse(*near));
        found
    }

    /// Adds the next row as a node.
    pub(super) fn insert(&mut self, vectors: &Vectors) {
        let Ok(node) = u32::try_from(self.len()) else { return };
        let near = self.search(vectors, vectors.row(node as usize), INSERT_BREADTH);
        self.links.resize(self.links.len() + LINKS, NONE);
        if self.entries.is_empty() || (node as usize).is_multiple_of(ENTRY_EVERY) {
            self.entries.push(node);
        }
        let chosen = choose(vectors, &near, CHOSEN);
        self.set_links(node, &chosen);
        for neighbour in chosen {
            self.link_back(vectors, neighbour, node);
        }
    }

    /// Lets `node` know of a new neighbour; where it has enough of them, the best are kept.
    fn link_back(&mut self, vectors: &Vectors, node: u32, neighbour: u32) {
        let row = vectors.row(node as usize);
        let mut known: Vec<Near> = self
            .neighbours(node)
            .chain([neighbour])
            .map(|other| (product::dot(vectors.row(other as usize), row), other))
            .collect();
        if known.len() <= LINKS {
            let links: Vec<u32> = known.into_iter().map(|(_, other)| other).collect();
            return self.set_links(node, &links);
        }
        known.sort_unstable_by_key(|near| Reverse(*near));
        self.set_links(node, &choose(vectors, &known, LINKS));
    }

    fn set_links(&mut self, node: u32, neighbours: &[u32]) {
        let links = &mut self.links[node as usize * LINKS..][..LINKS];
        links.fill(NONE);
        links[..neighbours.len()].copy_from_slice(neighbours);
    }

    fn neighbours(&self, node: u32) -> impl Iterator<Item = u32> {
        let links = &self.links[node as usize * LINKS..][..LINKS];
        links.iter().copied().take_while(|link| *link != NONE)
    }
}

/// Up to `count` of the nodes, given nearest first: those that are nearer to what they are chosen for than to one that
/// was chosen before, so that they lie in all directions; then the nearest of the others (the paper's algorithm 4).
fn choose(vectors: &Vectors, near: &[Near], count: usize) -> Vec<u32> {
    let mut chosen: Vec<u32> = Vec::with_capacity(count);
    let mut passed_over = Vec::new();
    for (product, node) in near {
        if chosen.len() == count {
            break;
        }
        let row = vectors.row(*node as usize);
        let is_apart = chosen.iter().all(|other| product::dot(row, vectors.row(*other as usize)) < *product);
        if is_apart {
            chosen.push(*node);
        } else {
            passed_over.push(*node);
        }
    }
    let room = count - chosen.len();
    chosen.extend(passed_over.into_iter().take(room));
    chosen
}

/// The nodes that a search came to, a bit each.
struct Seen(Vec<u64>);

impl Seen {
    fn new(nodes: usize) -> Self {
        Self(vec![0; nodes.div_ceil(64)])
    }

    /// Whether it is the first time.
    fn add(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.0[node as usize / 64], 1 << (node % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// Whether all nodes can be reached from the entries.
#[cfg(test)]
pub(super) fn is_connected(graph: &Graph) -> bool {
    let mut reached: std::collections::HashSet<u32> = graph.entries.iter().copied().collect();
    let mut open: Vec<u32> = graph.entries.clone();
    while let Some(node) = open.pop() {
        open.extend(graph.neighbours(node).filter(|neighbour| reached.insert(*neighbour)));
    }
    reached.len() == graph.len()
}
