//! The queue of calls that are to be placed, and the book of those that were.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::{CallResult, CampaignId, CampaignReport, CampaignRequest, Entry, Order, PlaceError, Placing, State};
use crate::call::CallId;
use crate::time::Time;

/// Results of calls and campaigns that are over that are kept; the oldest go first, whole campaigns together.
pub const MOST_RESULTS: usize = 100_000;

/// How late a call may be so that those after it do not wait for that.
const LATE: Duration = Duration::from_millis(50);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The final status of its INVITE, if there was one.
    pub status: Option<u16>,
    /// Why, in words.
    pub cause: String,
}

/// A call in the book.
#[derive(Clone, Debug)]
struct Entered {
    campaign: Option<CampaignId>,
    order: Order,
    state: State,
    /// Somebody does not want it any more.
    unwanted: bool,
    /// It has rung for too long.
    too_long: bool,
    /// When it is to be given up.
    patience: Option<Time>,
    ending: Option<Ending>,
    asked: SystemTime,
    begun: Option<SystemTime>,
    ringing: Option<SystemTime>,
    answered: Option<SystemTime>,
    ended: Option<SystemTime>,
}

#[derive(Clone, Debug)]
struct Campaign {
    placing: Placing,
    rate: f64,
    concurrency: usize,
    calls: Vec<CallId>,
    /// Numbers that wait.
    waiting: VecDeque<CallId>,
    alive: usize,
    /// When the next may begin.
    next: Time,
    stopped: bool,
    asked: SystemTime,
    ended: Option<SystemTime>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Dialler {
    most_waiting: usize,
    /// Calls that are no campaign's.
    waiting: VecDeque<CallId>,
    campaigns: BTreeMap<CampaignId, Campaign>,
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
        let campaign = Campaign {
            placing: request.placing.clone(),
            rate: request.rate,
            concurrency: request.concurrency,
            waiting: calls.iter().copied().collect(),
            calls,
            alive: 0,
            next: now,
            stopped: false,
            asked: wall,
            ended: None,
        };
        self.campaigns.insert(id, campaign);
        id
    }

    fn enter(&mut self, campaign: Option<CampaignId>, order: Order, wall: SystemTime) {
        let entered = Entered {
            campaign,
            state: State::Waiting,
            unwanted: false,
            too_long: false,
            patience: None,
            ending: None,
            asked: wall,
            begun: None,
            ringing: None,
            answered: None,
            ended: None,
            order,
        };
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
        let turn = self.turn;
        let ready = |(id, campaign): (&CampaignId, &Campaign)| {
            (campaign.is_ready(now) && may(&campaign.placing.trunk)).then_some(*id)
        };
        let after = self.campaigns.range(turn..).filter(|(id, _)| **id != turn);
        let id = after.chain(self.campaigns.range(..=turn)).find_map(ready)?;
        self.turn = id;
        let campaign = self.campaigns.get_mut(&id)?;
        let call = campaign.waiting.pop_front()?;
        campaign.alive += 1;
        let apart = Duration::from_secs_f64(1.0 / campaign.rate);
        // A timer that was late is made up for; what waited for others to end is not.
        let made_up = Time::ZERO + (now + apart).since(Time::ZERO + LATE);
        campaign.next = (campaign.next + apart).max(made_up);
        Some(call)
    }

    /// When [`Self::due`] or [`Self::overdue`] may have something, if nothing else happens before.
    pub fn wake(&self, now: Time) -> Option<Time> {
        let campaigns = self.campaigns.values().filter(|campaign| campaign.has_room());
        let next = campaigns.map(|campaign| campaign.next);
        let single = (!self.waiting.is_empty()).then_some(now);
        let place = next.chain(single).min().map(|next| next.max(self.rest));
        let place = place.filter(|_| !self.closed);
        let patience = self.patience.first().map(|(until, _)| *until);
        place.into_iter().chain(patience).min()
    }

    /// Whether a call could be placed now, if its trunk had room.
    pub fn is_ready(&self, now: Time) -> bool {
        let mut campaigns = self.campaigns.values();
        now >= self.rest && !self.closed && (!self.waiting.is_empty() || campaigns.any(|one| one.is_ready(now)))
    }

    /// Places nothing any more: what waits is taken back.
    pub fn close(&mut self, wall: SystemTime) {
        self.closed = true;
        let mut waiting: Vec<CallId> = self.waiting.drain(..).collect();
        for campaign in self.campaigns.values_mut() {
            campaign.stopped |= campaign.ended.is_none();
            waiting.extend(campaign.waiting.drain(..));
        }
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
                if let Some(campaign) = self.campaigns.get_mut(&id) {
                    campaign.alive -= usize::from(had_begun && campaign.alive > 0);
                    if campaign.alive == 0 && campaign.waiting.is_empty() {
                        campaign.ended = Some(wall);
                    }
                }
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
                self.waiting.retain(|waiting| *waiting != call);
                for campaign in self.campaigns.values_mut() {
                    campaign.waiting.retain(|waiting| *waiting != call);
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
        let campaign = self.campaigns.get_mut(&id).ok_or_else(unknown)?;
        campaign.stopped |= campaign.ended.is_none();
        let waiting = std::mem::take(&mut campaign.waiting);
        let calls = campaign.calls.clone();
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
        let state = match (campaign.stopped, campaign.ended) {
            (true, _) => "stopped",
            (false, Some(_)) => "done",
            (false, None) => "running",
        };
        CampaignReport {
            campaign: id.0,
            state: state.to_owned(),
            numbers: campaign.calls.len(),
            rate: campaign.rate,
            concurrency: campaign.concurrency,
            trunk: campaign.placing.trunk.clone(),
            agent: campaign.placing.agent.clone(),
            asked: campaign.asked.into(),
            ended: campaign.ended.map(Into::into),
            calls,
        }
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

impl Campaign {
    fn has_room(&self) -> bool {
        !self.waiting.is_empty() && self.alive < self.concurrency
    }

    fn is_ready(&self, now: Time) -> bool {
        self.has_room() && self.next <= now
    }
}

impl Entered {
    /// What it is called that a call ended so.
    fn final_state(&self, status: Option<u16>) -> State {
        match (self.answered, status) {
            (Some(_), _) => State::Ended,
            (None, _) if self.unwanted => State::Cancelled,
            (None, _) if self.too_long => State::NoAnswer,
            (None, Some(486 | 600)) => State::Busy,
            // 487 comes when sip.invite_timeout takes it back; 408 also from where nobody is at all.
            (None, Some(480 | 487)) => State::NoAnswer,
            (None, Some(408)) if self.ringing.is_some() => State::NoAnswer,
            (None, _) => State::Failed,
        }
    }

    fn result(&self) -> CallResult {
        let Order {
            call,
            to,
            from,
            placing,
        } = &self.order;
        let duration = self
            .ended
            .zip(self.answered)
            .map(|(ended, answered)| ended.duration_since(answered));
        CallResult {
            call: call.to_string(),
            campaign: self.campaign.map(|campaign| campaign.0),
            to: to.clone(),
            from: from.clone(),
            trunk: placing.trunk.clone(),
            agent: placing.agent.clone(),
            state: self.state,
            status: self.ending.as_ref().and_then(|ending| ending.status),
            cause: self.ending.as_ref().map(|ending| ending.cause.clone()),
            asked: self.asked.into(),
            begun: self.begun.map(Into::into),
            ringing: self.ringing.map(Into::into),
            answered: self.answered.map(Into::into),
            ended: self.ended.map(Into::into),
            duration_s: duration.map(|duration| duration.unwrap_or_default().as_secs_f64()),
        }
    }
}

impl Entry {
    /// The number.
    pub fn number(&self) -> &str {
        match self {
            Self::Number(to) | Self::With { to, .. } => to,
        }
    }

    /// How it is placed, in a campaign that is placed so.
    pub fn placing(&self, of_all: &Placing) -> Placing {
        let mut placing = of_all.clone();
        match self {
            Self::Number(_) => {}
            Self::With { parameters, .. } => placing.parameters.extend(parameters.clone()),
        }
        placing
    }
}

fn taken_back() -> Ending {
    Ending {
        status: None,
        cause: "taken back before it was placed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: SystemTime = SystemTime::UNIX_EPOCH;

    fn placing() -> Placing {
        Placing {
            trunk: "t".into(),
            agent: "a".into(),
            caller_id: None,
            tenant: None,
            ring_timeout_s: Some(20),
            parameters: BTreeMap::new(),
            headers: BTreeMap::new(),
        }
    }

    fn order(call: u64) -> Order {
        Order {
            call: CallId(call),
            to: format!("+1555000{call}"),
            from: "+15550100".into(),
            placing: placing(),
        }
    }

    fn campaign(dialler: &mut Dialler, calls: std::ops::Range<u64>, rate: f64, concurrency: usize) -> CampaignId {
        let orders: Vec<Order> = calls.map(order).collect();
        let request = CampaignRequest {
            numbers: orders.iter().map(|order| Entry::Number(order.to.clone())).collect(),
            rate,
            concurrency,
            placing: placing(),
        };
        dialler.campaign(&request, orders, Time::ZERO, WALL)
    }

    fn due(dialler: &mut Dialler, now: Time) -> Vec<u64> {
        std::iter::from_fn(|| dialler.due(now, WALL, |_| true))
            .map(|order| order.call.0)
            .collect()
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    fn end(dialler: &mut Dialler, call: u64, status: Option<u16>) -> State {
        let ending = Ending {
            status,
            cause: "x".into(),
        };
        dialler.ended(CallId(call), ending, WALL);
        dialler.result(CallId(call)).map(|result| result.state).unwrap()
    }

    #[test]
    fn a_campaign_keeps_to_its_rate_and_its_concurrency() {
        let mut dialler = Dialler::new(100);
        let id = campaign(&mut dialler, 0..6, 10.0, 3);
        let mut begun = Vec::new();
        for ms in (0..1000).step_by(10) {
            begun.extend(due(&mut dialler, at(ms)).into_iter().map(|call| (ms, call)));
        }
        assert_eq!(begun, [(0, 0), (100, 1), (200, 2)]);
        // All three are alive: nothing is waited for but their patience.
        assert_eq!(dialler.wake(at(1000)), Some(at(20_000)));
        end(&mut dialler, 1, Some(486));
        // What was late is not made up for at once.
        assert_eq!(dialler.wake(at(1000)), Some(at(300)));
        assert_eq!(due(&mut dialler, at(1000)), [3]);
        end(&mut dialler, 0, None);
        end(&mut dialler, 2, None);
        assert_eq!(due(&mut dialler, at(1049)), [0; 0]);
        assert_eq!(due(&mut dialler, at(1050)), [4]);
        assert_eq!(dialler.wake(at(1050)), Some(at(1150)));
        assert_eq!(due(&mut dialler, at(1150)), [5]);
        for call in 3..6 {
            assert_eq!(dialler.campaign_report(id).unwrap().state, "running");
            end(&mut dialler, call, None);
        }
        assert_eq!(dialler.campaign_report(id).unwrap().state, "done");
        assert_eq!((dialler.wake(at(2000)), dialler.waiting()), (None, 0));
    }

    #[test]
    fn single_calls_come_first_and_campaigns_in_turn() {
        let mut dialler = Dialler::new(100);
        campaign(&mut dialler, 0..3, 1000.0, 10);
        campaign(&mut dialler, 10..13, 1000.0, 10);
        dialler.call(order(20), WALL);
        let begun: Vec<u64> = (0..100).flat_map(|ms| due(&mut dialler, at(ms))).collect();
        assert_eq!(begun[0], 20);
        assert_eq!(begun[1..].iter().filter(|call| **call >= 10).count(), 3);
        let first = begun.iter().position(|call| *call >= 10 && *call < 20).unwrap();
        assert!(first < 3, "{begun:?}");
    }

    #[test]
    fn what_became_of_a_call() {
        let mut dialler = Dialler::new(100);
        for call in 0..8 {
            dialler.call(order(call), WALL);
        }
        assert_eq!(due(&mut dialler, at(0)).len(), 8);
        assert_eq!(end(&mut dialler, 0, Some(486)), State::Busy);
        assert_eq!(end(&mut dialler, 1, Some(480)), State::NoAnswer);
        assert_eq!(end(&mut dialler, 2, Some(404)), State::Failed);
        // Nobody is there at all, or nobody answers.
        assert_eq!(end(&mut dialler, 3, Some(408)), State::Failed);
        dialler.ringing(CallId(4), WALL);
        assert_eq!(end(&mut dialler, 4, Some(408)), State::NoAnswer);
        dialler.answered(CallId(5), WALL);
        assert_eq!(end(&mut dialler, 5, None), State::Ended);
        assert!(dialler.cancel(CallId(6), WALL).unwrap());
        assert_eq!(end(&mut dialler, 6, Some(487)), State::Cancelled);
        dialler.ringing(CallId(7), WALL);
        assert_eq!(dialler.overdue(at(19_999)), []);
        assert_eq!(dialler.overdue(at(20_000)), [CallId(7)]);
        assert_eq!(dialler.overdue(at(30_000)), []);
        assert_eq!(end(&mut dialler, 7, Some(487)), State::NoAnswer);
    }

    #[test]
    fn a_campaign_that_is_stopped_begins_nothing_more() {
        let mut dialler = Dialler::new(100);
        let id = campaign(&mut dialler, 0..5, 1000.0, 2);
        assert_eq!([due(&mut dialler, at(0)), due(&mut dialler, at(1))], [[0], [1]]);
        dialler.answered(CallId(0), WALL);
        assert_eq!(dialler.stop(id, WALL), Ok(vec![CallId(1)]));
        assert_eq!(end(&mut dialler, 1, Some(487)), State::Cancelled);
        assert_eq!(due(&mut dialler, at(100)), [0; 0]);
        let report = dialler.campaign_report(id).unwrap();
        assert_eq!((report.state.as_str(), report.ended), ("stopped", None));
        assert_eq!(end(&mut dialler, 0, None), State::Ended);
        let report = dialler.campaign_report(id).unwrap();
        assert!(report.ended.is_some());
        assert_eq!((report.calls["cancelled"], report.calls["ended"]), (4, 1));
        assert_eq!(dialler.results(id).unwrap().len(), 5);
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut dialler = Dialler::new(3);
        dialler.has_room(3).unwrap();
        campaign(&mut dialler, 0..3, 1.0, 1);
        let full = PlaceError::Full { waiting: 3, most: 3 };
        assert_eq!(dialler.has_room(1), Err(full));
        dialler.rest_until(at(500));
        assert_eq!(due(&mut dialler, at(400)), [0; 0]);
        assert_eq!(dialler.due(at(500), WALL, |trunk| trunk != "t"), None);
        assert!(dialler.is_ready(at(500)));
        assert_eq!(due(&mut dialler, at(500)), [0]);
        dialler.has_room(1).unwrap();
        dialler.close(WALL);
        assert_eq!(
            (due(&mut dialler, at(9000)), dialler.is_ready(at(9000))),
            (vec![], false)
        );
        assert_eq!((dialler.waiting(), dialler.has_room(1)), (0, Err(PlaceError::Stopping)));
        let states: Vec<State> = (0..3).map(|call| dialler.result(CallId(call)).unwrap().state).collect();
        assert_eq!(states, [State::Calling, State::Cancelled, State::Cancelled]);
    }
}
