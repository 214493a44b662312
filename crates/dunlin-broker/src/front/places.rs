//! The places for connections whose handshakes are under way: who has one, who gets one next, and who
//! has to make room for others. It opens nothing and reads no clock.

#[cfg(test)]
mod tests;

use super::endings::Endings;
use super::half_open::HalfOpen;
use crate::core::LimitCause;
use crate::waiting_room::WaitingRoom;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

/// So many times as many handshakes as may be under way may wait for their turn.
const WAITING_TIMES: usize = 4;
/// Of the descriptors that the process may have, so small a part may be those of who waits.
const WAITING_PART: usize = 4;
/// Who has sent nothing for so long makes room when there is none: a handshake takes a few
/// milliseconds of each side, and the network's time.
const SILENCE: Duration = Duration::from_secs(1);
/// The same where handshakes come to nothing, for those of an address that has more than its share of
/// all places, when somebody waits whose address has none.
const CROWD_SILENCE: Duration = Duration::from_millis(100);
/// Who has been here for so long makes room when nobody is silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Entries of connections that are gone which a queue may keep in any case.
const GONE_MAX: usize = 64;

/// How many places there are, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct PlaceLimits {
    /// Connections whose handshakes are under way at most; others wait.
    pub(crate) half_open_max: usize,
    /// The same for one address.
    pub(crate) half_open_per_address_max: usize,
    /// How long all handshakes of a connection may take together.
    pub(crate) timeout: Duration,
}

pub(super) struct Places {
    limits: PlaceLimits,
    waiting_max: usize,
    places: Vec<Option<HalfOpen>>,
    free: Vec<usize>,
    /// Who came when, in this order.
    arrivals: VecDeque<Entry>,
    /// Those who have been silent, roughly in the order since when; one that has been heard is put
    /// back when its turn comes.
    silent: VecDeque<Entry>,
    /// How many there are of each address.
    by_address: HashMap<IpAddr, usize>,
    /// Who has been accepted and has no place yet.
    waiting: WaitingRoom<HalfOpen>,
    /// Whether that there is no place left has been counted for those who wait.
    is_shortage_told: bool,
    endings: Endings,
    /// How many have come, to tell one in a place from others that had it.
    count: u64,
}

/// One that has a place, or had it.
#[derive(Clone, Copy)]
struct Entry {
    since: Clock,
    place: usize,
    /// [`HalfOpen::number`].
    number: u64,
}

/// For whom room is to be made in one pass, and how far those who could make it have been looked at. What
/// was found to be of no use once is not asked again before the next pass: it would be for each place.
pub(super) struct Search {
    now: Clock,
    /// Whether anybody's place is of use: there is none, and somebody waits who could have it. Otherwise
    /// only that of an address of which somebody waits.
    is_any_of_use: bool,
    /// Whether the address of somebody who waits has no place, and handshakes come to nothing.
    is_urgent: bool,
    /// How many places of one address are not too many then.
    share: usize,
    /// How many of the silent ones have been passed over.
    passed: usize,
}

/// What one does who seemed to be silent, once it has been heard.
pub(super) enum Silence {
    /// It has left its place by itself.
    Gone,
    /// It is silent still.
    Lasts,
    /// It has sent something.
    Broken,
}

impl Search {
    pub(super) const fn new(now: Clock) -> Self {
        Self { now, is_any_of_use: true, is_urgent: true, share: 1, passed: 0 }
    }
}

impl Places {
    /// # Arguments
    /// `descriptors`: how many the process may have open, if that is bounded.
    pub(super) fn new(limits: PlaceLimits, descriptors: Option<usize>, now: Clock) -> Self {
        let waiting_max = WAITING_TIMES * limits.half_open_max;
        Self {
            limits,
            waiting_max: descriptors
                .map_or(waiting_max, |count| waiting_max.min(count / WAITING_PART)),
            places: Vec::new(),
            free: Vec::new(),
            arrivals: VecDeque::new(),
            silent: VecDeque::new(),
            by_address: HashMap::new(),
            waiting: WaitingRoom::new(),
            is_shortage_told: false,
            endings: Endings::new(limits.half_open_max, now),
            count: 0,
        }
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut HalfOpen> {
        self.places.get_mut(place)?.as_mut()
    }

    /// Whether nobody waits for a place.
    pub(super) const fn is_nobody_waiting(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a further connection is taken, `is_filling` while places are still to be given to those who
    /// wait. If all have to wait because handshakes take their time, it waits with the system; if it is
    /// because they come to nothing, or those of one address do, it is taken all the same, and somebody of
    /// the largest crowd goes, so that others get their turn.
    pub(super) fn may_take(&self, is_filling: bool) -> bool {
        let has_room = self.has_room() && !is_filling;
        self.waiting.len() < self.waiting_max || has_room || self.is_besieged()
    }

    /// Takes a connection up: gives it back if its handshakes may begin now, and lets it wait otherwise.
    /// `tell` is told which limits that is for.
    pub(super) fn admit(
        &mut self,
        half_open: HalfOpen,
        mut tell: impl FnMut(LimitCause),
    ) -> Option<HalfOpen> {
        let is_full = !self.has_room();
        let is_full_for_it = !self.has_room_for(half_open.address);
        if !is_full && !is_full_for_it && !self.waiting.holds(half_open.origin()) {
            return Some(half_open);
        }
        if is_full && !self.is_shortage_told {
            self.is_shortage_told = true;
            tell(LimitCause::HalfOpen);
        } else if is_full_for_it {
            tell(LimitCause::HalfOpenPerAddress);
        }
        self.waiting.push(half_open.origin(), half_open);
        if self.waiting.len() > self.waiting_max
            && let Some(half_open) = self.waiting.first_of_the_largest()
        {
            let peer = half_open.transport.peer();
            tracing::debug!(peer, "a connection was closed: too many wait for their handshakes");
            let is_its_own = !self.has_room_for(half_open.address);
            tell(if is_its_own { LimitCause::HalfOpenPerAddress } else { LimitCause::HalfOpen });
        }
        None
    }

    /// Takes who gets the next place out of those who wait.
    pub(super) fn next(&mut self) -> Option<HalfOpen> {
        let (by_address, max) = (&self.by_address, self.limits.half_open_per_address_max);
        let next = self.waiting.next(|address| has_room_for(by_address, max, address));
        if self.waiting.is_empty() {
            self.is_shortage_told = false;
        }
        next
    }

    /// The place that [`fill`](Self::fill) will give.
    pub(super) fn free_place(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    /// Gives a connection the place that is free.
    pub(super) fn fill(&mut self, mut half_open: HalfOpen, now: Clock) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.count += 1;
        let entry = Entry { since: now, place, number: self.count };
        self.arrivals.push_back(entry);
        self.silent.push_back(entry);
        if let Some(address) = half_open.address {
            *self.by_address.entry(address).or_default() += 1;
        }
        (half_open.heard_at, half_open.number) = (now, self.count);
        self.places[place] = Some(half_open);
    }

    /// Counts a connection for the address that its proxy has announced; whether its handshakes may go on.
    pub(super) fn announce(&mut self, place: usize, address: IpAddr) -> bool {
        let may = self.has_room_for(Some(address));
        if may && let Some(Some(half_open)) = self.places.get_mut(place) {
            *self.by_address.entry(address).or_default() += 1;
            half_open.address = Some(address);
        }
        may
    }

    /// Takes a connection out of its place.
    pub(super) fn remove(&mut self, place: usize) -> Option<HalfOpen> {
        let half_open = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        if let Some(address) = half_open.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(half_open)
    }

    /// When the time of the one that came first is up.
    pub(super) fn next_late_at(&self) -> Option<Clock> {
        self.arrivals.front().map(|entry| entry.since + self.limits.timeout)
    }

    /// The place of one whose time is up.
    pub(super) fn next_late(&mut self, now: Clock) -> Option<usize> {
        while let Some(entry) = self.arrivals.front().copied() {
            let is_there = self.is_there(entry);
            if is_there && now < entry.since + self.limits.timeout {
                return None;
            }
            self.arrivals.pop_front();
            if is_there {
                return Some(entry.place);
            }
        }
        None
    }

    /// Sees what the next place would be of use for.
    pub(super) fn go_on_searching(&self, search: &mut Search) {
        let has_none = |address: Option<IpAddr>| {
            address.is_some_and(|address| !self.by_address.contains_key(&address))
        };
        let may_have_one = |address| self.has_room_for(address);
        search.is_any_of_use =
            search.is_any_of_use && !self.has_room() && self.waiting.any(may_have_one);
        search.is_urgent = search.is_urgent
            && search.is_any_of_use
            && self.is_besieged()
            && self.waiting.any(has_none);
        search.share = (self.limits.half_open_max / (self.by_address.len() + 1)).max(1);
    }

    /// The place of one who seems to have been silent for too long. What it does is to be looked at, and to
    /// be told to [`is_silent`](Self::is_silent), before the next one is asked for.
    pub(super) fn next_silent(&mut self, search: &mut Search) -> Option<usize> {
        let least = if search.is_urgent { CROWD_SILENCE } else { SILENCE };
        while let Some(entry) = self.silent.get(search.passed).copied() {
            if search.now < entry.since + least {
                return None;
            }
            let Some(half_open) = self.at(entry) else {
                self.silent.remove(search.passed);
                continue;
            };
            let is_long = search.now >= entry.since + self.silence_of(search, half_open);
            if is_long && self.is_of_use(search, half_open) {
                return Some(entry.place);
            }
            search.passed += 1;
        }
        None
    }

    /// Whether the one that [`next_silent`](Self::next_silent) gave is silent still, after all that it has
    /// sent was handled.
    pub(super) fn is_silent(&mut self, search: &Search) -> Silence {
        let Some(entry) = self.silent.remove(search.passed) else { return Silence::Gone };
        let Some(half_open) = self.at(entry) else { return Silence::Gone };
        let heard_at = half_open.heard_at;
        if search.now >= heard_at + self.silence_of(search, half_open) {
            return Silence::Lasts;
        }
        self.silent.push_back(Entry { since: heard_at, ..entry });
        Silence::Broken
    }

    /// The place of one who has been here for too long, now that others wait.
    pub(super) fn next_slow(&self, search: &Search) -> Option<usize> {
        let arrivals = self.arrivals.iter();
        let mut slow = arrivals.take_while(|entry| search.now >= entry.since + PATIENCE);
        let is_of_use = |half_open: &HalfOpen| self.is_of_use(search, half_open);
        slow.find(|entry| self.at(**entry).is_some_and(is_of_use)).map(|entry| entry.place)
    }

    /// Counts whether a handshake came to an end.
    pub(super) fn note_end(&mut self, is_finished: bool) {
        self.endings.note(is_finished);
    }

    /// Lets count less what is long ago.
    pub(super) fn age(&mut self, now: Clock) {
        self.endings.age(now);
    }

    /// Lets the queues hold little more than those who are here, however many have come and gone
    /// behind one that stays.
    pub(super) fn forget_gone(&mut self) {
        let places = &self.places;
        let is_there = |entry: &Entry| at(places, *entry).is_some();
        let len_max = 2 * (places.len() - self.free.len()) + GONE_MAX;
        for queue in [&mut self.arrivals, &mut self.silent] {
            if queue.len() > len_max {
                queue.retain(is_there);
            }
        }
    }

    /// Whether another handshake may begin.
    pub(super) fn has_room(&self) -> bool {
        self.places.len() - self.free.len() < self.limits.half_open_max
    }

    /// Whether another one of this address may.
    fn has_room_for(&self, address: Option<IpAddr>) -> bool {
        has_room_for(&self.by_address, self.limits.half_open_per_address_max, address)
    }

    const fn is_besieged(&self) -> bool {
        self.endings.is_siege()
    }

    /// After how long this one has been silent for too long.
    fn silence_of(&self, search: &Search, half_open: &HalfOpen) -> Duration {
        let is_of_crowd = search.is_urgent
            && !has_room_for(&self.by_address, search.share + 1, half_open.address);
        if is_of_crowd { CROWD_SILENCE } else { SILENCE }
    }

    /// Whether somebody who waits could have the place of this one.
    fn is_of_use(&self, search: &Search, half_open: &HalfOpen) -> bool {
        search.is_any_of_use || self.waiting.holds_some_of(half_open.address)
    }

    fn at(&self, entry: Entry) -> Option<&HalfOpen> {
        at(&self.places, entry)
    }

    fn is_there(&self, entry: Entry) -> bool {
        self.at(entry).is_some()
    }
}

/// The connection of an entry, if it is still there.
fn at(places: &[Option<HalfOpen>], entry: Entry) -> Option<&HalfOpen> {
    places[entry.place].as_ref().filter(|half_open| half_open.number == entry.number)
}

/// Whether another handshake of this address may begin.
fn has_room_for(by_address: &HashMap<IpAddr, usize>, max: usize, address: Option<IpAddr>) -> bool {
    let count = address.and_then(|address| by_address.get(&address));
    count.is_none_or(|count| *count < max)
}
