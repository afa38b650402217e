//! The queue of calls that are to be placed, and the book of those that were.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::SystemTime;

use super::course::Campaign;
use super::entered::{Ending, Entered};
use super::{CallResult, CampaignId, CampaignReport, CampaignRequest, Order, PlaceError, State};
use crate::call::CallId;
use crate::time::Time;

/// Results of calls and campaigns that are over that are kept; the oldest go first, whole campaigns together.
pub const MOST_RESULTS: usize = 100_000;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Dialler {
    most_waiting: usize,
    /// Calls that are no campaign's.
    waiting: VecDeque<CallId>,
    campaigns: BTreeMap<CampaignId, Campaign>,
    /// When the next calls of those campaigns may begin that have any left.
    turns: BTreeSet<(Time, CampaignId)>,
    calls: HashMap<CallId, Entered>,
    /// Until when those may ring that are being placed.
    patience: BTreeSet<(Time, CallId)>,
    /// Those of no campaign that are over, oldest first.
    over: VecDeque<CallId>,
    last_campaign: u64,
    /// Which campaign's turn it is.
    turn: CampaignId,
    /// Nothing is placed before.
    rest: Time,
    /// Nothing is placed any more.
    closed: bool,
}

impl Dialler {
    /// One in which so many calls may wait.
    pub fn new(most_waiting: usize) -> Self {
        Self {
            most_waiting,
            waiting: VecDeque::new(),
            campaigns: BTreeMap::new(),
            turns: BTreeSet::new(),
            calls: HashMap::new(),
            patience: BTreeSet::new(),
            over: VecDeque::new(),
            last_campaign: 0,
            turn: CampaignId(0),
            rest: Time::ZERO,
            closed: false,
        }
    }

    /// Calls that wait for their turn.
    pub fn waiting(&self) -> usize {
        let of_campaigns = self.campaigns.values().map(|campaign| campaign.waiting.len());
        self.waiting.len() + of_campaigns.sum::<usize>()
    }

    /// Whether so many more may wait.
    ///
    /// # Errors
    /// [`PlaceError::Full`]; [`PlaceError::Stopping`].
    pub fn has_room(&self, more: usize) -> Result<(), PlaceError> {
        if self.closed {
            return Err(PlaceError::Stopping);
        }
        let waiting = self.waiting();
        match waiting.saturating_add(more) > self.most_waiting {
            true => Err(PlaceError::Full {
                waiting,
                most: self.most_waiting,
            }),
            false => Ok(()),
        }
    }

    /// Takes one call.
    pub fn call(&mut self, order: Order, wall: SystemTime) {
        self.waiting.push_back(order.call);
        self.enter(None, order, wall);
    }

    /// Takes a campaign, of calls that are checked: as many as its request has numbers.
    pub fn campaign(
        &mut self,
        request: &CampaignRequest,
        orders: Vec<Order>,
        now: Time,
        wall: SystemTime,
    ) -> CampaignId {
        self.last_campaign += 1;
        let id = CampaignId(self.last_campaign);
        let calls: Vec<CallId> = orders.iter().map(|order| order.call).collect();
        for order in orders {
            self.enter(Some(id), order, wall);
        }
        let campaign = Campaign::new(request, calls, now, wall);
        self.turns.extend(campaign.turn().map(|turn| (turn, id)));
        self.campaigns.insert(id, campaign);
        id
    }

    fn enter(&mut self, campaign: Option<CampaignId>, order: Order, wall: SystemTime) {
        let entered = Entered::new(campaign, order, wall);
        self.calls.insert(entered.order.call, entered);
    }

    /// The next call to be placed now, if there is one, on a trunk that `may` have it: it counts as begun. Calls that are no
    /// campaign's come first, then campaigns in turn.
    pub fn due(&mut self, now: Time, wall: SystemTime, may: impl Fn(&str) -> bool) -> Option<Order> {
        if now < self.rest || self.closed {
            return None;
        }
        let trunk = |call: &CallId| self.calls.get(call).map(|entered| entered.order.placing.trunk.as_str());
        let single = self.waiting.iter().position(|call| trunk(call).is_some_and(&may));
        let call = match single.and_then(|place| self.waiting.remove(place)) {
            Some(call) => call,
            None => self.of_a_campaign(now, may)?,
        };
        let entered = self.calls.get_mut(&call)?;
        entered.state = State::Calling;
        entered.begun = Some(wall);
        entered.patience = entered.order.placing.ring_timeout().map(|timeout| now + timeout);
        self.patience.extend(entered.patience.map(|until| (until, call)));
        Some(entered.order.clone())
    }

    fn of_a_campaign(&mut self, now: Time, may: impl Fn(&str) -> bool) -> Option<CallId> {
        let may = |id: &CampaignId| self.campaigns.get(id).is_some_and(|one| may(&one.placing.trunk));
        let ready = self.turns.iter().take_while(|(turn, _)| *turn <= now);
        let ready = ready.map(|(_, id)| *id).filter(may);
        // Those after the one whose turn it was come before those up to it.
        let id = ready.min_by_key(|id| (*id <= self.turn, *id))?;
        self.turn = id;
        self.change(id, |campaign| campaign.begin(now)).flatten()
    }

    /// Changes a campaign, and with it when it has its turn.
    fn change<T>(&mut self, id: CampaignId, change: impl FnOnce(&mut Campaign) -> T) -> Option<T> {
        let campaign = self.campaigns.get_mut(&id)?;
        let before = campaign.turn();
        let changed = change(campaign);
        let after = campaign.turn();
        if before != after {
            before.map(|turn| self.turns.remove(&(turn, id)));
            self.turns.extend(after.map(|turn| (turn, id)));
        }
        Some(changed)
    }

    /// When [`Self::due`] or [`Self::overdue`] may have something, if nothing else happens before.
    pub fn wake(&self, now: Time) -> Option<Time> {
        let next = self.turns.first().map(|(turn, _)| *turn);
        let single = (!self.waiting.is_empty()).then_some(now);
        let place = next.into_iter().chain(single).min().map(|next| next.max(self.rest));
        let place = place.filter(|_| !self.closed);
        let patience = self.patience.first().map(|(until, _)| *until);
        place.into_iter().chain(patience).min()
    }

    /// Whether a call could be placed now, if its trunk had room.
    pub fn is_ready(&self, now: Time) -> bool {
        let campaign = self.turns.first().is_some_and(|(turn, _)| *turn <= now);
        now >= self.rest && !self.closed && (campaign || !self.waiting.is_empty())
    }

    /// Places nothing any more: what waits is taken back.
    pub fn close(&mut self, wall: SystemTime) {
        self.closed = true;
        let mut waiting: Vec<CallId> = self.waiting.drain(..).collect();
        for campaign in self.campaigns.values_mut() {
            campaign.stopped |= campaign.ended.is_none();
            waiting.extend(campaign.waiting.drain(..));
        }
        self.turns.clear();
        for call in waiting {
            if let Some(entered) = self.calls.get_mut(&call) {
                entered.unwanted = true;
            }
            self.ended(call, taken_back(), wall);
        }
    }

    /// Nothing is placed for so long: the gateway takes no calls.
    pub fn rest_until(&mut self, until: Time) {
        self.rest = until;
    }

    /// Calls that ring for longer than they may; each is told once.
    pub fn overdue(&mut self, now: Time) -> Vec<CallId> {
        let mut overdue = Vec::new();
        while let Some((until, call)) = self.patience.pop_first() {
            if until > now {
                self.patience.insert((until, call));
                break;
            }
            if let Some(entered) = self.calls.get_mut(&call) {
                entered.too_long = true;
                entered.patience = None;
                overdue.push(call);
            }
        }
        overdue
    }

    /// The other side rings.
    pub fn ringing(&mut self, call: CallId, wall: SystemTime) {
        if let Some(entered) = self.calls.get_mut(&call)
            && entered.state == State::Calling
        {
            entered.state = State::Ringing;
            entered.ringing = Some(wall);
        }
    }

    /// It is answered.
    pub fn answered(&mut self, call: CallId, wall: SystemTime) {
        if let Some(entered) = self.calls.get_mut(&call)
            && matches!(entered.state, State::Calling | State::Ringing)
        {
            entered.state = State::Answered;
            entered.answered = Some(wall);
            let patience = entered.patience.take();
            self.impatient(call, patience);
        }
    }

    /// It is over.
    pub fn ended(&mut self, call: CallId, ending: Ending, wall: SystemTime) {
        let Some(entered) = self.calls.get_mut(&call) else {
            return;
        };
        if entered.state.is_final() {
            return;
        }
        let had_begun = entered.state != State::Waiting;
        entered.state = entered.final_state(ending.status);
        entered.ending = Some(ending);
        entered.ended = Some(wall);
        let patience = entered.patience.take();
        let campaign = entered.campaign;
        self.impatient(call, patience);
        match campaign {
            Some(id) => {
                self.change(id, |campaign| campaign.ended(had_begun, wall));
            }
            None => self.over.push_back(call),
        }
        self.forget();
    }

    /// Nothing is waited for any more.
    fn impatient(&mut self, call: CallId, patience: Option<Time>) {
        if let Some(until) = patience {
            self.patience.remove(&(until, call));
        }
    }

    /// Takes a call back: `true` if it is alive and has to be ended; one that waits is over at once.
    ///
    /// # Errors
    /// [`PlaceError::Unknown`].
    pub fn cancel(&mut self, call: CallId, wall: SystemTime) -> Result<bool, PlaceError> {
        let unknown = || PlaceError::Unknown("call", call.to_string());
        let entered = self.calls.get_mut(&call).ok_or_else(unknown)?;
        entered.unwanted = true;
        match entered.state {
            State::Waiting => {
                match entered.campaign {
                    Some(id) => {
                        self.change(id, |campaign| campaign.waiting.retain(|waiting| *waiting != call));
                    }
                    None => self.waiting.retain(|waiting| *waiting != call),
                }
                self.ended(call, taken_back(), wall);
                Ok(false)
            }
            State::Calling | State::Ringing | State::Answered => Ok(true),
            State::Ended | State::Busy | State::NoAnswer | State::Failed | State::Cancelled => Ok(false),
        }
    }

    /// Stops a campaign: nothing more of it is placed. The calls that ring or have just begun are returned, to be ended; those
    /// that are answered go on.
    ///
    /// # Errors
    /// [`PlaceError::Unknown`].
    pub fn stop(&mut self, id: CampaignId, wall: SystemTime) -> Result<Vec<CallId>, PlaceError> {
        let unknown = || PlaceError::Unknown("campaign", id.0.to_string());
        let stop = |campaign: &mut Campaign| {
            campaign.stopped |= campaign.ended.is_none();
            (std::mem::take(&mut campaign.waiting), campaign.calls.clone())
        };
        let (waiting, calls) = self.change(id, stop).ok_or_else(unknown)?;
        for call in waiting {
            if let Some(entered) = self.calls.get_mut(&call) {
                entered.unwanted = true;
            }
            self.ended(call, taken_back(), wall);
        }
        let mut ringing = Vec::new();
        for call in calls {
            if let Some(entered) = self.calls.get_mut(&call)
                && matches!(entered.state, State::Calling | State::Ringing)
            {
                entered.unwanted = true;
                ringing.push(call);
            }
        }
        Ok(ringing)
    }

    /// What became of a call so far.
    ///
    /// # Errors
    /// [`PlaceError::Unknown`].
    pub fn result(&self, call: CallId) -> Result<CallResult, PlaceError> {
        let unknown = || PlaceError::Unknown("call", call.to_string());
        self.calls.get(&call).map(Entered::result).ok_or_else(unknown)
    }

    /// All campaigns, oldest first.
    pub fn campaigns(&self) -> Vec<CampaignReport> {
        let report = |(id, campaign): (&CampaignId, &Campaign)| self.report(*id, campaign);
        self.campaigns.iter().map(report).collect()
    }

    /// How a campaign goes.
    ///
    /// # Errors
    /// [`PlaceError::Unknown`].
    pub fn campaign_report(&self, id: CampaignId) -> Result<CampaignReport, PlaceError> {
        Ok(self.report(id, self.find(id)?))
    }

    /// What became of a campaign's calls so far, in the order of its numbers.
    ///
    /// # Errors
    /// [`PlaceError::Unknown`].
    pub fn results(&self, id: CampaignId) -> Result<Vec<CallResult>, PlaceError> {
        let calls = self.find(id)?.calls.iter();
        Ok(calls.filter_map(|call| Some(self.calls.get(call)?.result())).collect())
    }

    fn find(&self, id: CampaignId) -> Result<&Campaign, PlaceError> {
        let unknown = || PlaceError::Unknown("campaign", id.0.to_string());
        self.campaigns.get(&id).ok_or_else(unknown)
    }

    fn report(&self, id: CampaignId, campaign: &Campaign) -> CampaignReport {
        let mut calls = BTreeMap::new();
        for entered in campaign.calls.iter().filter_map(|call| self.calls.get(call)) {
            *calls.entry(entered.state.name().to_owned()).or_default() += 1;
        }
        campaign.report(id, calls)
    }

    /// Forgets the oldest of what is over, until no more is kept than may be.
    fn forget(&mut self) {
        while self.calls.len() > MOST_RESULTS.max(self.most_waiting) {
            if let Some(call) = self.over.pop_front() {
                self.calls.remove(&call);
                continue;
            }
            let mut done = self.campaigns.iter().filter(|(_, campaign)| campaign.ended.is_some());
            let Some(oldest) = done.next().map(|(id, _)| *id) else {
                return;
            };
            let campaign = self.campaigns.remove(&oldest);
            for call in campaign.into_iter().flat_map(|campaign| campaign.calls) {
                self.calls.remove(&call);
            }
        }
    }
}

fn taken_back() -> Ending {
    Ending {
        status: None,
        cause: "taken back before it was placed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
