//! Files that were fetched before, as samples: they are asked for again only if they have changed.

use std::collections::VecDeque;
use std::sync::Arc;

/// Most that is kept, bytes of µ-law: two hours of audio.
const MOST: usize = 64 << 20;

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What its server calls this state of it.
    pub(super) etag: String,
    /// What it sounds like.
    pub(super) audio: Arc<[u8]>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The longest unused first.
    files: VecDeque<(String, Known)>,
    size: usize,
}

impl Cache {
    /// A file by its URL.
    pub(super) fn get(&mut self, url: &str) -> Option<Known> {
        let at = self.files.iter().position(|(known, _)| known == url)?;
        let file = self.files.remove(at)?;
        let known = file.1.clone();
        self.files.push_back(file);
        Some(known)
    }

    /// Keeps one, and forgets the longest unused where there are too many.
    pub(super) fn keep(&mut self, url: String, file: Known) {
        self.files.retain(|(known, _)| *known != url);
        self.files.push_back((url, file));
        self.size = self.files.iter().map(|(_, file)| file.audio.len()).sum();
        while self.size > MOST
            && let Some((_, file)) = self.files.pop_front()
        {
            self.size -= file.audio.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: usize) -> Known {
        Known {
            etag: format!("\"{length}\""),
            audio: vec![0; length].into(),
        }
    }

    #[test]
    fn the_longest_unused_are_forgotten() {
        let mut cache = Cache::default();
        cache.keep("a".into(), file(MOST / 2));
        cache.keep("b".into(), file(MOST / 2 - 1));
        assert!(cache.get("a").is_some());
        cache.keep("c".into(), file(2));
        assert_eq!(cache.get("b"), None);
        assert_eq!((cache.get("a"), cache.get("c")), (Some(file(MOST / 2)), Some(file(2))));
        cache.keep("a".into(), file(1));
        assert_eq!((cache.get("a"), cache.size), (Some(file(1)), 3));
    }
}
