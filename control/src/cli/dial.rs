//! `voxlane dial` and `voxlane campaign`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::ask::{self, OTHER_VERSION, print};
use crate::campaign::{
    CallRequest, CallResult, CampaignReport, CampaignRequest, Entry, PlacedApplication, Placing, State, WrittenDocument,
};
use crate::ops::client;

/// How often the gateway is asked how it goes.
const POLL: Duration = Duration::from_millis(200);

/// `voxlane dial`
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  Call a number on trunk \"carrier\" and let agent \"reminder\" talk:
    voxlane dial +15550100 --trunk carrier --agent reminder --parameter name=Ann
  Call a number, and let a web application say by TwiML what becomes of the call:
    voxlane dial +15550100 --trunk carrier --voice-url https://app.example/voice
  Call the numbers of a file, five a second, at most 20 at once, and keep the results:
    voxlane dial --file numbers.txt --rate 5 --concurrency 20 --trunk carrier --agent reminder --json > results.jsonl

Several numbers are a campaign, which goes on when this command is ended; \"voxlane campaign\" shows and stops it. Exit status of
one number: 0 if it was answered.")]
pub(super) struct Args {
    /// Numbers in E.164: +15550100
    numbers: Vec<String>,
    /// File with more numbers, one a line; "#" begins a comment
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The trunk the calls go out on
    #[arg(long)]
    trunk: String,
    /// The agent that talks once a call is answered
    #[arg(long, required_unless_present_any = ["voice_url", "twiml"])]
    agent: Option<String>,
    /// Instead: the web application that says by TwiML what becomes of a call once it is answered
    #[arg(long, value_name = "URL", conflicts_with = "agent")]
    voice_url: Option<String>,
    /// Instead: a file with its first document
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agent", "voice_url"])]
    twiml: Option<PathBuf>,
    /// Told how a call goes, where an application controls it
    #[arg(long, value_name = "URL", conflicts_with = "agent")]
    status_callback: Option<String>,
    /// The number to show, one of the trunk's caller_ids [default: the first of them]
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// Whose calls they are
    #[arg(long)]
    tenant: Option<String>,
    /// How long a call may ring, seconds
    #[arg(long, value_name = "SECONDS")]
    ring_timeout: Option<u32>,
    /// A parameter for the agent; may be given again
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// A header for the agent's WebSocket handshake; may be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// Of several numbers: calls that begin in a second
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Of several numbers: calls at once
    #[arg(long, default_value_t = 10)]
    concurrency: usize,
    /// Print the name of the call or campaign and do not wait for what becomes of it
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    gateway: ask::Args,
}

/// `voxlane campaign`
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct CampaignArgs {
    /// The campaign; without it all are shown
    campaign: Option<u64>,
    /// Stop it: what waits is not called, what rings is taken back, what is answered goes on
    #[arg(long, requires = "campaign")]
    stop: bool,
    /// Print what became of each call, as lines of JSON
    #[arg(long, requires = "campaign", conflicts_with = "stop")]
    results: bool,
    #[command(flatten)]
    gateway: ask::Args,
}

/// Places the calls, and says what became of each.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut numbers = args.numbers.clone();
    if let Some(file) = &args.file {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        numbers.extend(listed(&text));
    }
    let placing = Placing {
        trunk: args.trunk.clone(),
        agent: args.agent.clone().unwrap_or_default(),
        application: PlacedApplication {
            document: WrittenDocument {
                voice_url: args.voice_url.clone(),
                voice_method: None,
                twiml: args.twiml.as_deref().map(document).transpose()?,
            },
            status_callback: args.status_callback.clone(),
            ..PlacedApplication::default()
        },
        caller_id: args.caller_id.clone(),
        tenant: args.tenant.clone(),
        ring_timeout_s: args.ring_timeout,
        parameters: args.parameters.iter().cloned().collect::<BTreeMap<_, _>>(),
        headers: args.headers.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match (numbers.as_slice(), &args.file) {
        ([], _) => bail!("there is no number to call"),
        ([to], None) => {
            let request = CallRequest {
                to: to.clone(),
                placing,
            };
            runtime.block_on(one(args, &request))
        }
        _ => {
            let request = CampaignRequest {
                numbers: numbers.into_iter().map(Entry::Number).collect(),
                rate: args.rate,
                concurrency: args.concurrency,
                placing,
            };
            runtime.block_on(several(args, &request))
        }
    }
}

/// The document in a file.
pub(super) fn document(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

/// Shows, lists or stops campaigns.
pub(super) fn campaign(args: &CampaignArgs) -> anyhow::Result<()> {
    let Some(campaign) = args.campaign else {
        return ask::run(&args.gateway, "/v1/campaigns", |all: &Vec<CampaignReport>| {
            all.iter().map(progress).collect()
        });
    };
    let route = format!("/v1/campaigns/{campaign}");
    if args.stop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(client::delete_bytes(&args.gateway.runtime_dir, &route))?;
        return match args.gateway.json {
            true => print(&[&answer[..], b"\n"].concat()),
            false => print(progress(&serde_json::from_slice(&answer).context(OTHER_VERSION)?).as_bytes()),
        };
    }
    if args.results {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let route = format!("{route}/results");
        let lines = client::get_bytes(&args.gateway.runtime_dir, &route);
        return print(&runtime.block_on(lines)?);
    }
    ask::run(&args.gateway, &route, progress)
}

async fn one(args: &Args, request: &CallRequest) -> anyhow::Result<ExitCode> {
    let directory = &args.gateway.runtime_dir;
    let answer = client::post_bytes(directory, "/v1/calls", request).await?;
    let mut result: CallResult = serde_json::from_slice(&answer).context(OTHER_VERSION)?;
    if args.no_wait {
        print(format!("{}\n", result.call).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    while !result.state.is_final() {
        tokio::time::sleep(POLL).await;
        result = client::get(directory, &format!("/v1/calls/{}", result.call)).await?;
    }
    print(line(&result, args.gateway.json)?.as_bytes())?;
    Ok(match result.state {
        State::Ended => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn several(args: &Args, request: &CampaignRequest) -> anyhow::Result<ExitCode> {
    let directory = &args.gateway.runtime_dir;
    let answer = client::post_bytes(directory, "/v1/campaigns", request).await?;
    let mut report: CampaignReport = serde_json::from_slice(&answer).context(OTHER_VERSION)?;
    if args.no_wait {
        print(format!("{}\n", report.campaign).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let route = format!("/v1/campaigns/{}", report.campaign);
    while report.ended.is_none() {
        tokio::time::sleep(POLL).await;
        report = client::get(directory, &route).await?;
    }
    let lines = client::get_bytes(directory, &format!("{route}/results")).await?;
    for result in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let result: CallResult = serde_json::from_slice(result).context(OTHER_VERSION)?;
        print(line(&result, args.gateway.json)?.as_bytes())?;
    }
    if !args.gateway.json {
        print(progress(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(result: &CallResult, json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string(result)? + "\n");
    }
    let CallResult {
        call,
        to,
        state,
        status,
        cause,
        duration_s,
        ..
    } = result;
    let mut text = format!("{to}  {}", state.name());
    if let Some(status) = status {
        text += &format!(" ({status})");
    }
    if let Some(seconds) = duration_s {
        text += &format!(" after {seconds:.1} s");
    }
    if let Some(cause) = cause {
        text += &format!(": {cause}");
    }
    Ok(format!("{text}  [call {call}]\n"))
}

fn progress(report: &CampaignReport) -> String {
    let CampaignReport {
        campaign,
        state,
        numbers,
        calls,
        trunk,
        agent,
        ..
    } = report;
    let calls: Vec<String> = calls.iter().map(|(state, count)| format!("{state} {count}")).collect();
    format!(
        "campaign {campaign} (trunk {trunk}, agent {agent}) {state}: {numbers} numbers; {}\n",
        calls.join(", ")
    )
}

/// The numbers of a file.
fn listed(text: &str) -> impl Iterator<Item = String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned)
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_numbers() {
        let numbers: Vec<String> = listed("# all\n+15550100\n\n +15550101 # Ann\n").collect();
        assert_eq!(numbers, ["+15550100", "+15550101"]);
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("=b").is_err() && pair("a").is_err());
    }
}
