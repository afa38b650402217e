//! What is asked for, and the configuration, as an order for the call.

use std::time::Duration;

use crate::call::Side;
use crate::call::transfer::{Asker, By, Order, Referral, Target, Way};
use crate::config::model::TransferCallerId;
use crate::gateway::core::Core;
use crate::gateway::live::Live;
use crate::ops::report::TransferOrder;
use crate::route::{self, number::Numbers};
use crate::sip;

impl Core {
    /// Makes an order of what is asked for; the error is why that cannot be.
    pub(super) fn order(
        &self,
        live: &Live,
        leaves: Side,
        asked_by: Asker,
        asked: &TransferOrder,
    ) -> Result<Order, String> {
        live.call.may_transfer(leaves).map_err(|refusal| refusal.to_string())?;
        let settings = &self.config.transfer;
        let stays = leaves.other().unwrap_or(Side::A);
        let own = live.trunk_of(stays);
        let (number, by) = match asked.to_call.as_deref() {
            Some(other) => {
                let (number, referral) = self.joining(live, stays, other, asked)?;
                (number, By::Refer(Box::new(referral)))
            }
            None => self.calling(live, stays, own, asked)?,
        };
        Ok(Order {
            to: number,
            by,
            asked_by,
            leaves,
            ringing: asked.ringing.unwrap_or(settings.ringing),
            timeout: asked
                .timeout_s
                .map_or(settings.timeout, |seconds| Duration::from_secs(u64::from(seconds))),
        })
    }

    /// A transfer to a number.
    fn calling(&self, live: &Live, stays: Side, own: &str, asked: &TransferOrder) -> Result<(String, By), String> {
        let number = Numbers::default().e164(&asked.to);
        let by = match self.way(own, asked)? {
            Way::Bridge => By::Bridge(Box::new(self.target(live, stays, &number, asked)?)),
            Way::Refer => By::Refer(Box::new(self.referral(live, stays, &number)?)),
        };
        Ok((number, by))
    }

    /// An attended transfer (RFC 5589 section 7): the carrier puts the far end of the leg that stays in the place of ours in
    /// another call, which it has with us on the same trunk. With the number of whom it is joined with.
    fn joining(
        &self,
        live: &Live,
        stays: Side,
        other: &str,
        asked: &TransferOrder,
    ) -> Result<(String, Referral), String> {
        if !asked.to.is_empty() || asked.trunk.is_some() {
            return Err("a call is joined with another call, or given to a number; leave out to and trunk".to_owned());
        }
        if asked.by.as_deref().is_some_and(|by| by != "refer") {
            return Err("two calls are joined by REFER only; leave out by".to_owned());
        }
        let own = live.trunk_of(stays);
        let other = self.named(other).map_err(|error| error.to_string())?;
        if other.id() == live.id() {
            return Err("a call cannot be joined with itself".to_owned());
        }
        let on_trunk = [Side::A, Side::B].into_iter().find(|side| {
            let leg = other.leg(*side);
            leg.trunk == own && leg.dialog.is_some()
        });
        let side =
            on_trunk.ok_or_else(|| format!("call {} has no leg on trunk {own}, whose carrier is asked", other.id()))?;
        let refer_to = other
            .leg(side)
            .dialog
            .and_then(|dialog| self.sip.refer_to_replace(dialog));
        let refer_to = refer_to.ok_or_else(|| format!("call {} is not up", other.id()))?;
        let number = match side {
            Side::A | Side::C => &other.from,
            Side::B => &other.route.number,
        };
        Ok((number.clone(), self.referral_to(live, stays, refer_to)?))
    }

    /// How a call is transferred whose leg on trunk `own` stays: as is asked for, else as that trunk says, else all. Who
    /// names another trunk wants a leg there.
    fn way(&self, own: &str, asked: &TransferOrder) -> Result<Way, String> {
        let elsewhere = asked.trunk.as_deref().filter(|name| *name != own);
        let own_way = self.trunk(own).and_then(|trunk| trunk.transfers.by);
        match (asked.by.as_deref(), elsewhere) {
            (Some("bridge"), _) | (None, Some(_)) => Ok(Way::Bridge),
            (Some("refer"), None) => Ok(Way::Refer),
            (Some("refer"), Some(other)) => Err(format!(
                "a REFER is sent on trunk {own}, which the leg that stays belongs to, and not on {other:?}; leave trunk out"
            )),
            (Some(other), _) => Err(format!(
                "{other:?} is no way to transfer a call; there is \"bridge\" and \"refer\""
            )),
            (None, None) => Ok(own_way.unwrap_or(self.config.transfer.by)),
        }
    }

    /// The leg to be placed.
    fn target(&self, live: &Live, stays: Side, number: &str, asked: &TransferOrder) -> Result<Target, String> {
        let settings = &self.config.transfer;
        let own = live.trunk_of(stays);
        let name = asked.trunk.as_deref().or(settings.trunk.as_deref()).unwrap_or(own);
        let caller_id = asked.caller_id.clone().unwrap_or_else(|| self.caller_id(live, stays));
        Ok(Target {
            trunk: name.to_owned(),
            outbound: route::transfer(&self.config, name, number, &caller_id)?,
            referred_by: None,
        })
    }

    /// The number that the other party is shown, unless another is asked for.
    pub(in crate::gateway) fn caller_id(&self, live: &Live, stays: Side) -> String {
        match self.config.transfer.caller_id {
            // Of a call that an agent has placed our number is the one it shows.
            TransferCallerId::Did if live.call.is_placed() => live.from.clone(),
            TransferCallerId::Did => live.route.number.clone(),
            TransferCallerId::Caller => match stays {
                Side::A | Side::C => live.from.clone(),
                Side::B => live.route.number.clone(),
            },
        }
    }

    /// What the carrier of the leg that stays is told: to call this number.
    fn referral(&self, live: &Live, stays: Side, number: &str) -> Result<Referral, String> {
        let own = live.trunk_of(stays);
        let trunk = self.trunk(own).ok_or_else(|| format!("there is no trunk {own:?}"))?;
        let far = live.leg(stays).remote.map(|remote| remote.ip().to_string());
        let to = route::referred(trunk, number, far.unwrap_or_default())?;
        self.referral_to(live, stays, sip::name_addr(&to, trunk.user_phone))
    }

    /// The same, with another Refer-To. The carrier knows us by the number that it has called, or that we show.
    pub(in crate::gateway) fn referral_to(
        &self,
        live: &Live,
        stays: Side,
        refer_to: String,
    ) -> Result<Referral, String> {
        let own = live.trunk_of(stays);
        let trunk = self.trunk(own).ok_or_else(|| format!("there is no trunk {own:?}"))?;
        let ours = live.leg(stays).local.map(|local| local.ip().to_string());
        let by = sip::Address {
            display: String::new(),
            user: match stays {
                Side::A | Side::C => live.route.number.clone(),
                Side::B => live.from.clone(),
            },
            host: ours.unwrap_or_default(),
            port: None,
        };
        Ok(Referral {
            trunk: own.to_owned(),
            refer_to,
            referred_by: sip::name_addr(&by, trunk.user_phone),
            progress: trunk.transfers.progress,
            unreported: trunk.transfers.unreported,
        })
    }
}
