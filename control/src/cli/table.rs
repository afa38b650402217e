//! Aligned tables for people.

use std::fmt;

/// Rows under headings; columns are as wide as their widest cell.
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

/// A column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    heading: &'static str,
    align: Align,
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

/// A column of words.
pub(super) const fn words(heading: &'static str) -> Column {
    Column {
        heading,
        align: Align::Left,
    }
}

/// A column of numbers.
pub(super) const fn numbers(heading: &'static str) -> Column {
    Column {
        heading,
        align: Align::Right,
    }
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Empty cells are shown as `-`.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = self.columns.map(|column| column.heading.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings = self.columns.map(|column| column.heading.to_owned());
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for ((column, width), cell) in self.columns.iter().zip(widths).zip(row) {
                match column.align {
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
