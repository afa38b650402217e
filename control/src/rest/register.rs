//! The calls that the API tells of: those that wait or live, and the last that ended. It has a lock of its own: a list of many
//! calls keeps no signalling waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Direction, Status};
use crate::call::CallId;

/// A call as the API tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: CallId,
    /// Whose it is; `None`: the gateway's own account's.
    pub tenant: Option<String>,
    /// The number that calls.
    pub from: String,
    /// The number that is called.
    pub to: String,
    /// Who began it.
    pub direction: Direction,
    /// How far it has come.
    pub status: Status,
    /// When it came in, or was asked for.
    pub created: SystemTime,
    /// When it last changed.
    pub updated: SystemTime,
    /// When it was answered.
    pub answered: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
}

impl Entry {
    /// A call that begins.
    pub fn new(
        id: CallId,
        tenant: Option<String>,
        (from, to): (&str, &str),
        (direction, status): (Direction, Status),
        now: SystemTime,
    ) -> Self {
        Self {
            id,
            tenant,
            from: from.to_owned(),
            to: to.to_owned(),
            direction,
            status,
            created: now,
            updated: now,
            answered: None,
            ended: None,
        }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its calls, each with the number that it stands under; the last that came is the first.
    pub entries: Vec<(u64, Entry)>,
    /// Whether there are more behind it.
    pub more: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Register {
    most_ended: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// By tenant: what one of them does is no matter of the others'.
    accounts: HashMap<Option<String>, Account>,
    /// Whose each call is, and the number that it stands under there.
    places: HashMap<CallId, (Option<String>, u64)>,
}

/// The calls of one account.
#[derive(Debug, Default)]
struct Account {
    /// By the order in which they came.
    entries: BTreeMap<u64, Entry>,
    /// Numbers of those that have ended, oldest first.
    ended: VecDeque<u64>,
    last: u64,
}

impl Register {
    /// One that remembers, of each account, so many calls that have ended.
    pub fn new(most_ended: usize) -> Self {
        Self {
            most_ended,
            book: Mutex::default(),
        }
    }

    /// A call begins, or waits to; one that is known already is not begun anew.
    pub fn begin(&self, entry: Entry) {
        let book = &mut *self.book();
        if let Some(known) = book.entry(entry.id) {
            if !known.status.is_final() {
                (known.status, known.updated) = (entry.status, entry.updated);
            }
            return;
        }
        let account = book.accounts.entry(entry.tenant.clone()).or_default();
        account.last += 1;
        book.places.insert(entry.id, (entry.tenant.clone(), account.last));
        account.entries.insert(account.last, entry);
    }

    /// A call has come so far; one that has ended stays as it is.
    pub fn reached(&self, id: CallId, status: Status, now: SystemTime) {
        let most = self.most_ended;
        let book = &mut *self.book();
        let Some(entry) = book.entry(id) else { return };
        // What has been answered does not ring any more.
        let is_past = entry.status == Status::InProgress && !status.is_final();
        if entry.status.is_final() || is_past {
            return;
        }
        (entry.status, entry.updated) = (status, now);
        match status {
            Status::InProgress => entry.answered = Some(now),
            _ if status.is_final() => {
                entry.ended = Some(now);
                book.ended(id, most);
            }
            _ => {}
        }
    }

    /// A call of a tenant.
    pub fn find(&self, tenant: Option<&str>, id: CallId) -> Option<Entry> {
        let mut book = self.book();
        let entry = book.entry(id)?;
        (entry.tenant.as_deref() == tenant).then(|| entry.clone())
    }

    /// So many calls of a tenant that `fits`, those first that came last; behind the one that stands under the number `after`.
    pub fn list(&self, tenant: Option<&str>, fits: impl Fn(&Entry) -> bool, after: Option<u64>, most: usize) -> Page {
        let book = self.book();
        let account = book.accounts.get(&tenant.map(str::to_owned));
        let before = account.map(|account| account.entries.range(..after.unwrap_or(u64::MAX)).rev());
        let mut fitting = before.into_iter().flatten().filter(|(_, entry)| fits(entry));
        let entries = fitting.by_ref().take(most);
        let entries: Vec<(u64, Entry)> = entries.map(|(number, entry)| (*number, entry.clone())).collect();
        Page {
            more: fitting.next().is_some(),
            entries,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn entry(&mut self, id: CallId) -> Option<&mut Entry> {
        let (tenant, number) = self.places.get(&id)?;
        self.accounts.get_mut(tenant)?.entries.get_mut(number)
    }

    /// A call has ended; of those of its account that have, the one that did first is forgotten, if they are more than `most`.
    fn ended(&mut self, id: CallId, most: usize) {
        let Some((tenant, number)) = self.places.get(&id) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(tenant) else {
            return;
        };
        account.ended.push_back(*number);
        if account.ended.len() > most {
            let oldest = account
                .ended
                .pop_front()
                .and_then(|number| account.entries.remove(&number));
            if let Some(oldest) = oldest {
                self.places.remove(&oldest.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn entry(id: u64, tenant: &str) -> Entry {
        Entry::new(
            CallId(id),
            Some(tenant.to_owned()),
            ("+15550100", "+15550101"),
            (Direction::Outbound, Status::Queued),
            NOW,
        )
    }

    fn ids(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|(_, entry)| entry.id.0).collect()
    }

    #[test]
    fn a_tenant_sees_its_own_calls_and_no_others() {
        let register = Register::new(10);
        for (id, tenant) in [(1, "acme"), (2, "other"), (3, "acme")] {
            register.begin(entry(id, tenant));
        }
        assert_eq!(ids(&register.list(Some("acme"), |_| true, None, 50)), [3, 1]);
        assert_eq!(ids(&register.list(None, |_| true, None, 50)), [0; 0]);
        assert!(register.find(Some("acme"), CallId(1)).is_some());
        assert!(register.find(Some("acme"), CallId(2)).is_none());
        assert!(register.find(None, CallId(2)).is_none());
    }

    #[test]
    fn pages_follow_one_another_whatever_comes_meanwhile() {
        let register = Register::new(10);
        (1..=5).for_each(|id| register.begin(entry(id, "acme")));
        let first = register.list(Some("acme"), |_| true, None, 2);
        assert_eq!((ids(&first), first.more), (vec![5, 4], true));
        register.begin(entry(6, "acme"));
        let second = register.list(Some("acme"), |_| true, Some(first.entries[1].0), 2);
        assert_eq!((ids(&second), second.more), (vec![3, 2], true));
        let third = register.list(Some("acme"), |_| true, Some(second.entries[1].0), 2);
        assert_eq!((ids(&third), third.more), (vec![1], false));
    }

    #[test]
    fn the_course_of_a_call() {
        let register = Register::new(10);
        register.begin(entry(1, "acme"));
        let status = |register: &Register| register.find(Some("acme"), CallId(1)).unwrap().status;
        // Its turn has come.
        register.begin(Entry {
            status: Status::Initiated,
            ..entry(1, "acme")
        });
        for (reached, is) in [
            (Status::Ringing, Status::Ringing),
            (Status::InProgress, Status::InProgress),
            (Status::Ringing, Status::InProgress),
            (Status::Completed, Status::Completed),
            (Status::Failed, Status::Completed),
        ] {
            register.reached(CallId(1), reached, NOW);
            assert_eq!(status(&register), is);
        }
        let entry = register.find(Some("acme"), CallId(1)).unwrap();
        assert_eq!((entry.answered, entry.ended), (Some(NOW), Some(NOW)));
    }

    #[test]
    fn of_those_that_have_ended_the_oldest_are_forgotten() {
        let register = Register::new(2);
        (1..=5).for_each(|id| register.begin(entry(id, "acme")));
        for id in [4, 1, 2] {
            register.reached(CallId(id), Status::Failed, NOW);
        }
        assert_eq!(ids(&register.list(Some("acme"), |_| true, None, 50)), [5, 3, 2, 1]);
        assert!(register.find(Some("acme"), CallId(4)).is_none());
    }

    #[test]
    fn an_account_that_has_many_calls_makes_no_other_forget_its_own() {
        let register = Register::new(2);
        register.begin(entry(1, "quiet"));
        register.reached(CallId(1), Status::Completed, NOW);
        for id in 2..=100 {
            register.begin(entry(id, "busy"));
            register.reached(CallId(id), Status::Completed, NOW);
        }
        assert_eq!(ids(&register.list(Some("quiet"), |_| true, None, 50)), [1]);
        assert!(register.find(Some("quiet"), CallId(1)).is_some());
        assert_eq!(ids(&register.list(Some("busy"), |_| true, None, 50)), [100, 99]);
        assert!(register.find(Some("busy"), CallId(2)).is_none());
    }
}
