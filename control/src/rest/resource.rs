//! Calls, and lists of them, as Twilio writes them.

use std::time::SystemTime;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::form::List;
use super::register::{Entry, Page};
use super::{Status, VERSION};
use crate::call::CallId;
use crate::ops::timestamp::rfc_2822;

/// The name of a call here: `CA` and 32 hexadecimal digits.
pub fn call_sid(id: CallId) -> String {
    format!("CA{:032x}", id.0)
}

/// The call of a name.
pub fn call_id(sid: &str) -> Option<CallId> {
    let digits = sid.strip_prefix("CA").filter(|digits| digits.len() == 32)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let value = u128::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
    u64::try_from(value).ok().map(CallId)
}

/// A call of the account `account`.
pub fn call(account: &str, entry: &Entry) -> Value {
    let sid = call_sid(entry.id);
    let uri = format!("/{VERSION}/Accounts/{account}/Calls/{sid}");
    let time = |time: Option<SystemTime>| time.map(rfc_2822);
    let (answered, ended) = (entry.answered, entry.ended);
    let duration = ended.map(|ended| {
        let lasted = answered.map_or(Ok(Default::default()), |answered| ended.duration_since(answered));
        lasted.unwrap_or_default().as_secs().to_string()
    });
    // When it began to be a call: one that waits has not.
    let started = (entry.status != Status::Queued).then_some(answered.unwrap_or(entry.created));
    json!({
        "sid": sid,
        "account_sid": account,
        "parent_call_sid": null,
        "to": entry.to,
        "to_formatted": entry.to,
        "from": entry.from,
        "from_formatted": entry.from,
        "phone_number_sid": null,
        "status": entry.status.name(),
        "start_time": time(started),
        "end_time": time(ended),
        "duration": duration,
        "price": null,
        "price_unit": "USD",
        "direction": entry.direction.name(),
        "answered_by": null,
        "annotation": null,
        "forwarded_from": null,
        "group_sid": null,
        "caller_name": null,
        "queue_time": "0",
        "trunk_sid": null,
        "date_created": time(Some(entry.created)),
        "date_updated": time(Some(entry.updated)),
        "api_version": VERSION,
        "uri": format!("{uri}.json"),
        "subresource_uris": {},
    })
}

/// A page of the list that is asked for.
pub fn calls(account: &str, asked: &List, page: &Page) -> Value {
    let path = format!("/{VERSION}/Accounts/{account}/Calls.json");
    let uri = |number: u64, after: Option<u64>| {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&asked.filters);
        query.append_pair("PageSize", &asked.size.to_string());
        query.append_pair("Page", &number.to_string());
        query.extend_pairs(after.map(|after| ("PageToken", format!("PA{after}"))));
        format!("{path}?{}", query.finish())
    };
    let last = page.entries.last().filter(|_| page.more);
    let start = asked.page.saturating_mul(asked.size as u64);
    let calls: Vec<Value> = page.entries.iter().map(|(_, entry)| call(account, entry)).collect();
    json!({
        "first_page_uri": uri(0, None),
        "next_page_uri": last.map(|(number, _)| uri(asked.page.saturating_add(1), Some(*number))),
        "previous_page_uri": null,
        "page": asked.page,
        "page_size": asked.size,
        "start": start,
        "end": start.saturating_add(calls.len().saturating_sub(1) as u64),
        "uri": uri(asked.page, asked.after),
        "calls": calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_calls_and_back() {
        assert_eq!(call_id(&call_sid(CallId(0xabc))), Some(CallId(0xabc)));
        for sid in [
            "",
            "CA",
            "CA+0000000000000000000000000000abc",
            "MZ00000000000000000000000000000abc",
            "CAffffffffffffffffffffffffffffffff",
        ] {
            assert_eq!(call_id(sid), None, "{sid}");
        }
    }
}
