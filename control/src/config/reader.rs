//! Walks the TOML tree: every value with its line, every mistake collected.
//!
//! A [`Section`] is a table that is being read. Its values are taken out one by one by the keys there are; what remains
//! at [`Section::finish`] is unknown. A value that is wrong is reported and then treated as absent, so that reading goes on.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors};
use super::expand::expand;
use super::suggest::nearest;

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// What the whole walk shares.
pub(super) struct Reader<'a> {
    file: &'a str,
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &str, environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let newlines = text
            .bytes()
            .enumerate()
            .filter(|&(_, byte)| byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            file,
            lines: std::iter::once(0).chain(newlines).collect(),
            environment,
            errors: RefCell::default(),
        }
    }

    /// The tree of a text; `None` if it is not TOML.
    pub(super) fn root<'r>(&'r self, text: &'r str) -> Option<Section<'r>> {
        let (table, mistakes) = DeTable::parse_recoverable(text);
        for mistake in &mistakes {
            let line = mistake.span().map(|span| self.line(span.start));
            self.push(line, String::new(), format!("is not TOML: {}", mistake.message()));
        }
        mistakes
            .is_empty()
            .then(|| Section::new(self, String::new(), 1, table.into_inner()))
    }

    /// Records a mistake.
    pub(super) fn report(&self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.push(Some(line), key.into(), message.into());
    }

    fn push(&self, line: Option<usize>, key: String, message: String) {
        self.errors.borrow_mut().push(ConfigError {
            file: self.file.to_owned(),
            line,
            key,
            message,
        });
    }

    /// The mistakes in order of lines; `None` if there are none.
    pub(super) fn into_errors(self) -> Option<ConfigErrors> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| error.line);
        (!errors.is_empty()).then_some(ConfigErrors(errors))
    }

    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset)
    }
}

struct Entry<'r> {
    key: String,
    /// Line of the value.
    line: usize,
    value: DeValue<'r>,
}

/// A table that is being read.
pub(super) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// Its path, `trunk` say; empty for the file as a whole.
    path: String,
    /// The line it begins on.
    pub(super) line: usize,
    /// What has not been taken yet, in the order written.
    entries: Vec<Entry<'r>>,
    /// Every key that was asked for.
    known: Vec<&'static str>,
}

impl<'r> Section<'r> {
    fn new(reader: &'r Reader<'r>, path: String, line: usize, table: DeTable<'r>) -> Self {
        let mut entries: Vec<(usize, Entry<'r>)> = table
            .into_iter()
            .map(|(key, value)| {
                let line = reader.line(value.span().start);
                (
                    key.span().start,
                    Entry {
                        key: key.into_inner().into_owned(),
                        line,
                        value: value.into_inner(),
                    },
                )
            })
            .collect();
        entries.sort_by_key(|&(offset, _)| offset);
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        Self {
            reader,
            path,
            line,
            entries,
            known: Vec::new(),
        }
    }

    /// The path of a key of this section, for errors.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Records a mistake about a key of this section.
    pub(super) fn report(&self, line: usize, key: &str, message: impl Into<String>) {
        self.reader.report(line, self.key(key), message);
    }

    /// A text value.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let Entry { line, value, .. } = self.take(key)?;
        self.parsed(key, line, &value, &parse)
    }

    /// A text value that may also be written as a number, without quotes.
    pub(super) fn text_or_number<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let Entry { line, value, .. } = self.take(key)?;
        let DeValue::Integer(integer) = &value else {
            return self.parsed(key, line, &value, &parse);
        };
        match parse(integer.as_str()) {
            Ok(value) => Some(Located { value, line }),
            Err(message) => {
                self.report(line, key, message);
                None
            }
        }
    }

    /// A text value that must be there; `hint` is what to write.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        hint: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        if !self.has(key) {
            self.report(self.line, key, format!("is missing; write {key} = {hint}"));
        }
        self.text(key, parse)
    }

    /// An array of text values, in order. One wrong value spoils it.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let Entry { line, value, .. } = self.take(key)?;
        let DeValue::Array(array) = value else {
            self.wrong_type(key, line, &value, "a list; write [\"…\", \"…\"]");
            return None;
        };
        let values: Vec<Option<Located<T>>> = array
            .iter()
            .map(|element| self.parsed(key, self.reader.line(element.span().start), element.get_ref(), &parse))
            .collect();
        Some(Located {
            value: values.into_iter().collect::<Option<_>>()?,
            line,
        })
    }

    /// An integer within a range.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<Located<u64>> {
        let Entry { line, value, .. } = self.take(key)?;
        let DeValue::Integer(integer) = &value else {
            self.wrong_type(key, line, &value, "a whole number; write it without quotes");
            return None;
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(Located { value: number, line }),
            _ => {
                let (least, most) = range.into_inner();
                self.report(line, key, format!("{integer} is out of range; write {least} to {most}"));
                None
            }
        }
    }

    /// A table of names and text values, in the order written.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(String, Located<String>)> {
        let Some(Entry { line, value, .. }) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value else {
            self.wrong_type(key, line, &value, "a table; write { name = \"value\" }");
            return Vec::new();
        };
        let table = Section::new(self.reader, self.key(key), line, table);
        let pairs = table.entries.iter().filter_map(|entry| {
            let value = table.parsed(&entry.key, entry.line, &entry.value, &|text| Ok(text.to_owned()))?;
            Some((entry.key.clone(), value))
        });
        pairs.collect()
    }

    /// A table of its own: `[key]`. An empty one if it is not there.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let table = self.table(key, &format!("a section; write [{key}] once"));
        table.unwrap_or_else(|| Section::new(self.reader, self.key(key), self.line, DeTable::new()))
    }

    /// A table within a section; `expected` is what to write where it is none.
    pub(super) fn table(&mut self, key: &'static str, expected: &str) -> Option<Self> {
        let Entry { line, value, .. } = self.take(key)?;
        match value {
            DeValue::Table(table) => Some(Section::new(self.reader, self.key(key), line, table)),
            value => {
                self.wrong_type(key, line, &value, expected);
                None
            }
        }
    }

    /// Tables of one kind: `[[key]]`, as often as written.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let hint = format!("a list of sections; write [[{key}]] for each");
        let array = match self.take(key) {
            Some(Entry {
                value: DeValue::Array(array),
                ..
            }) => array,
            Some(Entry { line, value, .. }) => {
                self.wrong_type(key, line, &value, &hint);
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut sections = Vec::new();
        for element in array {
            let line = self.reader.line(element.span().start);
            match element.into_inner() {
                DeValue::Table(table) => sections.push(Section::new(self.reader, self.key(key), line, table)),
                value => self.wrong_type(key, line, &value, &hint),
            }
        }
        sections
    }

    /// Whether a key is written and has not been taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Reports what was not asked for.
    pub(super) fn finish(self) {
        for entry in &self.entries {
            let key = match entry.value {
                DeValue::Table(_) | DeValue::Array(_) if self.path.is_empty() => "section",
                _ => "key",
            };
            let advice = match nearest(&entry.key, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there is {}", quoted(&self.known)),
            };
            self.report(entry.line, &entry.key, format!("unknown {key}; {advice}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry<'r>> {
        self.known.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    fn parsed<T>(
        &self,
        key: &str,
        line: usize,
        value: &DeValue<'_>,
        parse: &dyn Fn(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let DeValue::String(written) = value else {
            self.wrong_type(key, line, value, "text; write it in quotes");
            return None;
        };
        match expand(written, self.reader.environment).and_then(|text| parse(&text)) {
            Ok(value) => Some(Located { value, line }),
            Err(message) => {
                self.report(line, key, message);
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, line: usize, value: &DeValue<'_>, expected: &str) {
        let found = match value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(line, key, format!("is {found}, must be {expected}"));
    }
}

/// The words in quotes, separated by commas.
pub(super) fn quoted<T: Display>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}
