//! Sparse matrices of which only the places of entries are known, and how few directions tell all their entries.

use std::{ops::Range, sync::Arc};

use super::Pattern;

/// The columns of the entries in each row of a matrix, sorted. Equal rows are kept once.
#[derive(Clone, Debug)]
pub struct Structure {
    members: Arc<[u32]>,
    /// For each row, where its columns stand among the members, and how many there are.
    rows: Vec<(usize, usize)>,
    /// For each row, how many entries stand before it.
    starts: Vec<usize>,
    columns: usize,
}

impl Structure {
    /// Rows as ranges of `members`: begin and length.
    pub(super) fn new(members: Arc<[u32]>, rows: Vec<(usize, usize)>, columns: usize) -> Self {
        let before = |count: &mut usize, (_, length): &(usize, usize)| {
            *count += length;
            Some(*count - length)
        };
        let starts = rows.iter().scan(0, before).collect();
        Self { members, rows, starts, columns }
    }

    /// A matrix with all entries.
    pub fn full(rows: usize, columns: usize) -> Self {
        let members = (0..columns).map(|c| c as u32).collect();
        Self::new(members, vec![(0, columns); rows], columns)
    }

    /// A square matrix without entries.
    pub fn empty(size: usize) -> Self {
        Self::new(Arc::new([]), vec![(0, 0); size], size)
    }

    /// The entries on and below the diagonal.
    pub fn lower(&self) -> Self {
        let cut = |(i, &(start, _)): (usize, &(usize, usize))| {
            (start, self.row(i).partition_point(|&column| column as usize <= i))
        };
        Self::new(self.members.clone(), self.rows.iter().enumerate().map(cut).collect(), self.columns)
    }

    /// The first so many rows.
    pub fn first_rows(&self, count: usize) -> Self {
        Self::new(self.members.clone(), self.rows[..count].to_vec(), self.columns)
    }

    /// Those of these rows that are alike, with the columns of their entries.
    pub fn alike(&self, rows: Range<usize>) -> impl Iterator<Item = (&[u32], Vec<usize>)> {
        let mut order: Vec<usize> = rows.collect();
        order.sort_by_key(|&row| self.rows[row]);
        let groups: Vec<Vec<usize>> =
            order.chunk_by(|&a, &b| self.rows[a] == self.rows[b]).map(<[usize]>::to_vec).collect();
        groups.into_iter().map(|group| (self.row(group[0]), group))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.rows.iter().zip(&self.starts).next_back().map_or(0, |((_, length), start)| start + length)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of rows and of columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows.len(), self.columns)
    }

    /// Whether every place has an entry.
    pub fn is_full(&self) -> bool {
        self.rows.iter().all(|&(_, length)| length == self.columns)
    }

    /// The columns of the entries in a row.
    pub fn row(&self, row: usize) -> &[u32] {
        let (start, length) = self.rows[row];
        &self.members[start..start + length]
    }

    /// How many entries stand in the rows before this one.
    pub fn start(&self, row: usize) -> usize {
        self.starts[row]
    }

    /// The places of the entries, one by one.
    pub fn pattern(&self) -> Pattern {
        let mut pattern = Pattern::default();
        pattern.rows.reserve_exact(self.len());
        pattern.columns.reserve_exact(self.len());
        for row in 0..self.rows.len() {
            pattern.columns.extend(self.row(row).iter().map(|&column| column as usize));
            pattern.rows.resize(pattern.columns.len(), row);
        }
        pattern
    }
}

/// Which columns (or rows) of a matrix share a direction: those of one colour have no row (or column) in common, so that
/// the product with the sum of their unit vectors shows each entry by itself (Curtis, Powell and Reid, 1974).
#[derive(Clone, Debug)]
pub struct Colours {
    /// The colour of each.
    pub of: Vec<u32>,
    /// The number of colours.
    pub count: usize,
}

/// More bits than these are not spent on finding colours.
const BITS: usize = 1 << 31;

impl Colours {
    /// One colour for each.
    pub fn each(count: usize) -> Self {
        Self { of: (0..count).map(|c| c as u32).collect(), count }
    }

    /// Colours for the columns; `None` if it takes more than `limit`.
    pub fn of_columns(structure: &Structure, limit: usize) -> Option<Self> {
        if structure.rows.iter().any(|&(_, length)| length > limit) {
            return None;
        }
        // Equal rows tell the same.
        let mut distinct = structure.rows.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let rows = distinct.iter().map(|&(start, length)| &structure.members[start..start + length]);
        let (starts, readers) = transposed(rows, structure.columns);
        let edges = (0..structure.columns).map(|column| &readers[starts[column]..starts[column + 1]]);
        Self::greedy(edges, distinct.len(), limit)
    }

    /// Colours for the rows; `None` if it takes more than `limit`.
    pub fn of_rows(structure: &Structure, limit: usize) -> Option<Self> {
        let mut counts = vec![0; structure.columns];
        for row in 0..structure.rows.len() {
            for &column in structure.row(row) {
                counts[column as usize] += 1;
                if counts[column as usize] > limit {
                    return None;
                }
            }
        }
        Self::greedy((0..structure.rows.len()).map(|row| structure.row(row)), structure.columns, limit)
    }

    /// Gives each vertex the first colour that none of its edges has seen.
    fn greedy<'a>(vertices: impl Iterator<Item = &'a [u32]>, edges: usize, limit: usize) -> Option<Self> {
        let words = limit.div_ceil(64);
        if words.saturating_mul(64).saturating_mul(edges) > BITS {
            return None;
        }
        let mut seen = vec![0u64; edges * words];
        let mut forbidden = vec![0u64; words];
        let (mut of, mut count) = (Vec::new(), 0);
        for edges in vertices {
            let used = (count / 64 + 1).min(words);
            forbidden[..used].fill(0);
            for &edge in edges {
                let seen = &seen[edge as usize * words..][..used];
                forbidden.iter_mut().zip(seen).for_each(|(f, s)| *f |= s);
            }
            let free = forbidden[..used].iter().position(|&word| word != u64::MAX);
            let word = free.unwrap_or(used);
            let colour = word * 64 + free.map_or(0, |word| forbidden[word].trailing_ones() as usize);
            if colour >= limit {
                return None;
            }
            edges.iter().for_each(|&edge| seen[edge as usize * words + word] |= 1 << (colour % 64));
            of.push(colour as u32);
            count = count.max(colour + 1);
        }
        Some(Self { of, count })
    }
}

/// For each column, the rows that have it: where they begin, and the rows.
fn transposed<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, columns: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; columns + 1];
    rows.clone().flatten().for_each(|&column| starts[column as usize + 1] += 1);
    for column in 0..columns {
        starts[column + 1] += starts[column];
    }
    let mut next = starts.clone();
    let mut found = vec![0; starts[columns]];
    for (row, members) in rows.enumerate() {
        for &column in members {
            found[next[column as usize]] = row as u32;
            next[column as usize] += 1;
        }
    }
    (starts, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(rows: &[&[u32]], columns: usize) -> Structure {
        let mut members = Vec::new();
        let rows = rows
            .iter()
            .map(|row| {
                members.extend_from_slice(row);
                (members.len() - row.len(), row.len())
            })
            .collect();
        Structure::new(members.into(), rows, columns)
    }

    #[test]
    fn columns_of_a_colour_share_no_row() {
        // A band, and a column that nothing reads.
        let band = structure(&[&[0, 1], &[0, 1, 2], &[1, 2, 3], &[2, 3, 4], &[3, 4]], 6);
        let columns = Colours::of_columns(&band, 6).unwrap();
        assert_eq!((columns.count, columns.of.as_slice()), (3, &[0, 1, 2, 0, 1, 0][..]));
        let rows = Colours::of_rows(&band, 6).unwrap();
        assert_eq!((rows.count, rows.of.as_slice()), (3, &[0, 1, 2, 0, 1][..]));
        assert!(Colours::of_columns(&band, 2).is_none() && Colours::of_rows(&band, 2).is_none());
        assert_eq!(Colours::of_columns(&Structure::full(2, 130), 130).unwrap().count, 130);
    }

    #[test]
    fn the_lower_triangle_is_cut_from_the_rows() {
        let lower = Structure::full(3, 3).lower();
        assert_eq!((lower.len(), lower.row(1), lower.start(2)), (6, &[0, 1][..], 3));
        assert_eq!(lower.pattern().columns, [0, 0, 1, 0, 1, 2]);
    }
}
