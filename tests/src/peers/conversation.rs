//! Calls through the gateway whose two ends are scenarios of sipp, many of them at once: each has an answerer of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::sipp::{Running, Scenario, Sipp};
use crate::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};

/// SIP port of the first answerer.
const FIRST_PORT: u16 = 5080;

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// A number of the configuration.
    Number(&'static str),
    /// A scenario on the far side.
    Scenario(&'static str),
}

/// A configuration with trunks to so many answerers on the far side, each with these lines.
pub fn with_answerers(config: &str, answerers: u16, lines: &str) -> String {
    let trunks = (0..answerers).map(|index| {
        let (number, port) = (number(index), FIRST_PORT + index);
        format!(
            "\n[[trunk]]\nname = \"answerer{index}\"\nproxy = \"{FAR}:{port}\"\n{lines}\n\
             \n[[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\ntrunk = \"answerer{index}\"\n"
        )
    });
    std::iter::once(config.to_owned()).chain(trunks).collect()
}

/// What is called to reach an answerer.
fn number(index: u16) -> String {
    format!("+1555200{index:03}")
}

/// Makes these calls, all at once; each end must come out as its scenario says.
///
/// # Errors
/// If one does not; what sipp says of it is in the error.
pub fn converse(net: &Lab, calls: &[(&'static str, To)], patience: Duration) -> Result<()> {
    let mut ends: Vec<(&str, Running)> = Vec::new();
    let gateway = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
    for (index, (from, to)) in (0..).zip(calls) {
        let number = match to {
            To::Number(number) => (*number).to_owned(),
            To::Scenario(name) => {
                let port = FIRST_PORT + index;
                let far = Sipp::answerer_as(&net.far, Scenario::Dialogs(name), FAR)?;
                let far = far.traced().options(&["-p", &port.to_string(), "-m", "1"]);
                ends.push((name, far.listen_at(port)?));
                number(index)
            }
        };
        let caller = Sipp::caller(&net.carrier, Scenario::Dialogs(from), CARRIER, gateway, &number)?;
        ends.push((from, caller.traced().options(&["-m", "1"]).start()?));
    }
    let wrong: Vec<String> = ends
        .into_iter()
        .filter_map(|(name, end)| {
            let error = end.succeed(patience).context(name).err()?;
            Some(format!("{error:#}"))
        })
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}
