//! The caller's matrix: where the entries of a Jacobian or a Hessian are written.

use super::{function::Order, simd::multiversion};
use crate::{diff::Structure, tensor::Real};

/// How a caller wants a matrix.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// All places.
    Dense(Order),
    /// The entries of the structure, row by row.
    Entries,
}

/// Matrices of one structure, one for each point.
pub(super) struct Matrices<'a, N> {
    pub numbers: &'a mut [N],
    pub form: Form,
    pub structure: &'a Structure,
}

impl<'a, N: Real> Matrices<'a, N> {
    /// Matrices of zeros.
    pub fn zeros(numbers: &'a mut [N], form: Form, structure: &'a Structure) -> Self {
        numbers.fill(N::ZERO);
        Self { numbers, form, structure }
    }

    fn each(&self) -> usize {
        let (rows, columns) = self.structure.shape();
        match self.form {
            Form::Dense(_) => rows * columns,
            Form::Entries => self.structure.len(),
        }
    }

    /// Where the entry of a row and column stands that is number `k` of its row.
    fn place(&self, row: usize, column: usize, k: usize) -> usize {
        let (rows, columns) = self.structure.shape();
        match self.form {
            Form::Dense(Order::RowMajor) => row * columns + column,
            Form::Dense(Order::ColumnMajor) => column * rows + row,
            Form::Entries => self.structure.start(row) + k,
        }
    }

    /// Writes the numbers of a row of the structure that `pick` knows, by column.
    pub fn pick<T: Real>(&mut self, point: usize, row: usize, pick: impl Fn(usize) -> Option<T>) {
        let offset = point * self.each();
        for (k, &column) in self.structure.row(row).iter().enumerate() {
            if let Some(number) = pick(column as usize) {
                let place = self.place(row, column as usize, k);
                self.numbers[offset + place] = N::from_f64(number.to_f64());
            }
        }
    }

    /// Writes the numbers of a row of the lower triangle's structure that `pick` knows, by their number in the row and
    /// their column, and in a dense matrix those that mirror them.
    pub fn pick_symmetric<T: Real>(&mut self, point: usize, row: usize, pick: impl Fn(usize, usize) -> Option<T>) {
        let n = self.structure.shape().0;
        let offset = point * self.each();
        for (k, &column) in self.structure.row(row).iter().enumerate() {
            let column = column as usize;
            if let Some(number) = pick(k, column) {
                let place = self.place(row, column, k);
                self.numbers[offset + place] = N::from_f64(number.to_f64());
                if let Form::Dense(order) = self.form {
                    let mirrored = if order == Order::RowMajor { (column, row) } else { (row, column) };
                    self.numbers[offset + mirrored.0 * n + mirrored.1] = N::from_f64(number.to_f64());
                }
            }
        }
    }

    /// Writes a piece of a row that begins at a column; places without an entry stay zero if `masked`.
    pub fn line<T: Real>(&mut self, point: usize, row: usize, first: usize, line: &[T], masked: bool) {
        let (rows, columns) = self.structure.shape();
        let offset = point * self.each();
        match self.form {
            Form::Dense(order) if !masked => {
                let numbers = &mut self.numbers[offset..];
                match order {
                    Order::RowMajor => convert(line, &mut numbers[row * columns + first..][..line.len()]),
                    Order::ColumnMajor => {
                        let numbers = numbers[first * rows + row..].iter_mut().step_by(rows);
                        numbers.zip(line).for_each(|(to, from)| *to = N::from_f64(from.to_f64()));
                    }
                }
            }
            Form::Entries if self.structure.row(row).len() == columns => {
                convert(line, &mut self.numbers[offset + self.structure.start(row) + first..][..line.len()]);
            }
            _ => {
                let members = self.structure.row(row);
                let begin = members.partition_point(|&column| (column as usize) < first);
                for (k, &column) in members.iter().enumerate().skip(begin) {
                    let Some(number) = line.get(column as usize - first) else { break };
                    let place = self.place(row, column as usize, k);
                    self.numbers[offset + place] = N::from_f64(number.to_f64());
                }
            }
        }
    }

    /// Writes the lower triangle of a row-major symmetric matrix, and in a dense matrix the upper one.
    pub fn triangle<T: Real>(&mut self, point: usize, h: &[T]) {
        let n = self.structure.shape().0;
        let offset = point * self.each();
        for (row, h) in h.chunks_exact(n).enumerate().take(n) {
            match self.form {
                Form::Dense(_) => convert(&h[..=row], &mut self.numbers[offset + row * n..][..=row]),
                Form::Entries => {
                    let members = self.structure.row(row);
                    let entries = &mut self.numbers[offset + self.structure.start(row)..][..members.len()];
                    if members.len() == row + 1 {
                        convert(&h[..=row], entries);
                    } else {
                        entries
                            .iter_mut()
                            .zip(members)
                            .for_each(|(to, &column)| *to = N::from_f64(h[column as usize].to_f64()));
                    }
                }
            }
        }
        if let Form::Dense(_) = self.form {
            mirror(n, &mut self.numbers[offset..offset + n * n]);
        }
    }
}

/// Copies the lower triangle to the upper one, tile by tile.
pub(super) fn mirror<N: Real>(n: usize, h: &mut [N]) {
    const TILE: usize = 16;
    for i0 in (0..n).step_by(TILE) {
        for j0 in (0..=i0).step_by(TILE) {
            for i in i0..n.min(i0 + TILE) {
                for j in j0..i.min(j0 + TILE) {
                    h[j * n + i] = h[i * n + j];
                }
            }
        }
    }
}

multiversion! {
    /// Copies numbers from either precision to either.
    pub(super) fn convert<T: Real, N: Real>(from: &[T], to: &mut [N]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = N::from_f64(from.to_f64()));
    }
}
