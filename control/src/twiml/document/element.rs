//! An element that is being read: its attributes are taken out one by one, and what was not taken is told.

use std::ops::RangeInclusive;

use roxmltree::Node;

use crate::twiml::{Problem, code};

/// See the [module](self).
pub(super) struct Element<'a, 'i> {
    node: Node<'a, 'i>,
    taken: Vec<&'static str>,
}

impl<'a, 'i> Element<'a, 'i> {
    pub(super) fn of(node: Node<'a, 'i>) -> Self {
        Self {
            node,
            taken: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    /// Its line, from 1.
    pub(super) fn line(&self) -> u32 {
        self.node.document().text_pos_at(self.node.range().start).row
    }

    /// Something is wrong with it.
    pub(super) fn wrong(&self, text: &str) -> Problem {
        self.wrong_as(code::SCHEMA, text)
    }

    pub(super) fn wrong_as(&self, code: u16, text: &str) -> Problem {
        Problem::new(code, format!("line {}: <{}>: {text}", self.line(), self.name()))
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
        self.node.children()
    }

    /// The elements in it, and nothing else that counts.
    pub(super) fn nouns(&self) -> Result<Vec<Node<'a, 'i>>, Problem> {
        match self.node.children().find_map(super::text_of) {
            Some(text) => Err(self.wrong(&format!("text {text:?} is not meant to stand here"))),
            None => Ok(self.node.children().filter(Node::is_element).collect()),
        }
    }

    /// The one element in it, of this name.
    pub(super) fn only_noun(&self, name: &str) -> Result<Self, Problem> {
        match self.nouns()?.as_slice() {
            [one] if one.tag_name().name() == name => Ok(Self::of(*one)),
            [one] => Err(Self::of(*one).wrong(&format!("in <{}> stands <{name}>", self.name()))),
            [] | [_, _, ..] => Err(self.wrong(&format!("in it stands one <{name}>"))),
        }
    }

    pub(super) fn has_no_children(&self) -> Result<(), Problem> {
        match self.nouns()?.is_empty() {
            true => Ok(()),
            false => Err(self.wrong("nothing is meant to stand in it")),
        }
    }

    /// Its text, without blanks around it.
    pub(super) fn text(&self) -> Result<String, Problem> {
        if self.node.children().any(|child| child.is_element()) {
            return Err(self.wrong("only text is meant to stand in it"));
        }
        let texts = self
            .node
            .children()
            .filter(Node::is_text)
            .filter_map(|node| node.text());
        let text: String = texts.collect();
        match text.trim() {
            "" => Err(self.wrong("is empty")),
            text => Ok(text.to_owned()),
        }
    }

    pub(super) fn attribute(&mut self, key: &'static str) -> Option<&'a str> {
        self.taken.push(key);
        self.node.attribute(key)
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<&'a str, Problem> {
        self.attribute(key)
            .ok_or_else(|| self.wrong(&format!("has no {key}=\"…\"")))
    }

    /// A whole number within a range.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
        let Some(written) = self.attribute(key) else {
            return Ok(None);
        };
        match written.trim().parse::<u32>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) | Err(_) => {
                let (least, most) = range.into_inner();
                Err(self.wrong(&format!("{key} {written:?} is not a number from {least} to {most}")))
            }
        }
    }

    /// `true` or `false`, which is meant where nothing is written.
    pub(super) fn switch(&mut self, key: &'static str) -> Result<bool, Problem> {
        match self.attribute(key).map(str::trim) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(self.wrong(&format!("{key} {other:?} is neither true nor false"))),
        }
    }

    /// Warnings of attributes that were not taken.
    pub(super) fn unused(&self) -> impl Iterator<Item = Problem> {
        let unused = self
            .node
            .attributes()
            .filter(|attribute| !self.taken.contains(&attribute.name()));
        unused.map(|attribute| self.wrong(&format!("{} has no effect; it is passed over", attribute.name())))
    }
}
