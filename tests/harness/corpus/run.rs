//! Runs cases, direct and through agents, and judges the answers.

use anyhow::{Context, Result};

use super::{
    Canaries, Case, Client, Finding, Form, Policy, Step,
    canary::values,
    judge::{self, changed, misshapen, reason, refusals, states, written, wrong_verdict},
};
use crate::wire::{Message, query};

/// SQLSTATEs of statements that were written wrongly, or do not exist on this server.
const MISTAKES: [&str; 6] = ["42601", "42703", "42P01", "42883", "42P02", "42704"];

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A clear value reached the client.
    Canary,
    /// The attack was answered in another way than its verdict says.
    Verdict,
    /// The twin was not answered as it is direct.
    Twin,
    /// A refusal says too little.
    Refusal,
    /// The case itself is wrong.
    Case,
}

impl FaultKind {
    /// As in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Verdict => "verdict",
            Self::Twin => "twin",
            Self::Refusal => "refusal",
            Self::Case => "case",
        }
    }
}

/// A case that failed in a form.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Under which policy; `None` when run direct.
    pub policy: Option<Policy>,
    /// Its id.
    pub case: String,
    /// How it was said.
    pub form: Form,
    /// What is wrong.
    pub kind: FaultKind,
    /// What was seen.
    pub seen: String,
}

/// What came of a case in a form.
#[derive(Debug)]
pub struct Outcome {
    /// The case.
    pub case: String,
    /// The file.
    pub theme: String,
    /// The form.
    pub form: Form,
    /// Under which policy; `None` when run direct.
    pub policy: Option<Policy>,
    /// Whether there was an attack.
    pub attacked: bool,
    /// Whether there was a twin.
    pub twinned: bool,
    /// Whether the attack was refused.
    pub refused: bool,
    /// Why the twin was refused, if it was.
    pub twin_refused: Option<String>,
    /// The channels in which the attack shows canaries direct.
    pub direct: Vec<&'static str>,
    /// The same through the agent.
    pub shown: Vec<&'static str>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Outcome {
    /// Of a case that could not be run.
    pub(super) fn broken(case: &Case, error: &anyhow::Error) -> Self {
        let mut outcome = outcome(case, Form::Simple, None);
        let (case, kind, seen) = (case.id.clone(), FaultKind::Case, format!("{error:#}"));
        outcome.faults.push(Fault { policy: None, case, form: Form::Simple, kind, seen });
        outcome
    }
}

/// A server reached direct or through an agent.
struct Target {
    policy: Option<Policy>,
    port: u16,
    kept: Option<Client>,
}

/// Runs cases.
pub struct Runner {
    operator: Client,
    direct: Target,
    agents: Vec<Target>,
    canaries: Canaries,
    major: u32,
    /// Every OID up to here is the schema's, and the same in every run.
    oid_max: u32,
}

impl Runner {
    /// For a server with the schema, and doors into the cgroups of agents by their policies.
    pub fn new(port: u16, doors: &[(Policy, u16)]) -> Result<Self> {
        let mut operator = Client::connect(port, &[])?;
        let canaries = Canaries::load(&mut operator)?;
        let newest = "select max(oid)::text from (select max(oid::int8) as oid from pg_class
            union all select max(oid::int8) from pg_type) both_of_them";
        let oid_max = value(&mut operator, newest)?;
        let major =
            value(&mut operator, "select (current_setting('server_version_num')::int / 10000)::text")?;
        let target = |policy, port| Target { policy, port, kept: None };
        Ok(Self {
            operator,
            direct: target(None, port),
            agents: doors.iter().map(|(policy, port)| target(Some(*policy), *port)).collect(),
            canaries,
            major,
            oid_max,
        })
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The forms a case is run in.
    pub fn forms(&self, case: &Case) -> Vec<Form> {
        if case.since.is_some_and(|since| self.major < since) {
            return vec![];
        }
        let (attack, twin) = (case.attack.list(), case.twin_steps());
        let fits = |form: &Form| match &case.forms {
            Some(forms) => forms.contains(form),
            None => form.fits(&attack) || (attack.is_empty() && form.fits(&twin)),
        };
        Form::ALL.into_iter().filter(fits).collect()
    }

    /// Tries a case without agents: it must leak, and its twin must not.
    pub fn prove(&mut self, case: &Case) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![];
        let mut said_plainly = None;
        for form in self.forms(case) {
            let attack = self.run_direct(case, form, &case.attack.list())?;
            let twin = self.run_direct(case, form, &case.twin_steps())?;
            let shown = self.shown(case, &attack, &case.attack.list())?;
            let (attack, twin) = (attack.answer, twin.answer);
            let mut outcome = outcome(case, form, None);
            let mut fault = |seen: String| {
                let (case, kind) = (case.id.clone(), FaultKind::Case);
                outcome.faults.push(Fault { policy: None, case, form, kind, seen });
            };
            let states = states(&attack);
            if form == Form::ExtendedText {
                said_plainly = Some(states.clone());
            }
            // A parameter in the wrong place fails the statement, which then proves nothing.
            let is_bound = matches!(form, Form::BoundText | Form::BoundBinary);
            if is_bound && said_plainly.as_ref().is_some_and(|plain| *plain != states) {
                fault(format!("parameters change it: {}", written(&attack)));
            }
            // In other forms a value may be spelt as the search does not know; the report counts those.
            let must_show = outcomes.is_empty() && case.leaks;
            if outcome.attacked && if shown.is_empty() { must_show } else { !case.leaks } {
                fault(format!("leaks is {}, and it showed {shown:?}; {}", case.leaks, written(&attack)));
            }
            if !case.leaks && states.iter().any(|state| MISTAKES.contains(&state.as_str())) {
                fault(format!("the attack fails: {}", written(&attack)));
            }
            if outcome.twinned && outcome.attacked && states != judge::states(&twin) {
                fault(format!("the twin is no twin: {states:?}, {}", written(&twin)));
            }
            let shown_by_twin = self.canaries.search(&twin, &said(case, &case.twin_steps()));
            // Hashes of anything have digits like those of canaries.
            if !shown_by_twin.is_empty() && case.reveals.is_none() {
                fault(format!("the twin shows {shown_by_twin:?}: {}", written(&twin)));
            }
            outcome.direct = channels(&shown);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Runs a case through every agent.
    pub fn run(&mut self, case: &Case) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![];
        let (attack, twin) = (case.attack.list(), case.twin_steps());
        for form in self.forms(case) {
            let attack_direct = self.run_direct(case, form, &attack)?;
            let twin_direct = self.run_direct(case, form, &twin)?;
            let direct = channels(&self.shown(case, &attack_direct, &attack)?);
            let (attack_direct, twin_direct) = (attack_direct.answer, twin_direct.answer);
            for agent in 0..self.agents.len() {
                let attack_through = self.run_through(agent, case, form, &attack)?;
                let twin_through = self.run_through(agent, case, form, &twin)?;
                let shown = self.shown(case, &attack_through, &attack)?;
                let (attack_through, twin_through) = (attack_through.answer, twin_through.answer);
                let policy = self.agents[agent].policy;
                let mut outcome = outcome(case, form, policy);
                let mut fault = |kind, seen| {
                    outcome.faults.push(Fault { policy, case: case.id.clone(), form, kind, seen });
                };
                if !shown.is_empty() {
                    fault(FaultKind::Canary, format!("{shown:?}: {}", written(&attack_through)));
                }
                if let Some(seen) = wrong_verdict(case, policy, &attack_direct, &attack_through) {
                    fault(FaultKind::Verdict, seen);
                }
                if let Some(seen) = changed(case, self.oid_max, policy, &twin_direct, &twin_through) {
                    fault(FaultKind::Twin, seen);
                }
                for answer in [&attack_through, &twin_through] {
                    if let Some(seen) = misshapen(answer) {
                        fault(FaultKind::Refusal, seen);
                    }
                }
                outcome.refused = refusals(&attack_through) > refusals(&attack_direct);
                if refusals(&twin_through) > refusals(&twin_direct) {
                    outcome.twin_refused = Some(reason(&twin_through).unwrap_or_default());
                }
                outcome.direct.clone_from(&direct);
                outcome.shown = channels(&shown);
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }

    /// The canaries in all that was sent, around the steps as well.
    fn shown(&mut self, case: &Case, heard: &Heard, steps: &[Step]) -> Result<Vec<Finding>> {
        let said = said(case, steps);
        let revealed =
            case.reveals.as_ref().map(|sql| Canaries::revealed(&mut self.operator, sql)).transpose()?;
        let mut found = vec![];
        for canaries in [Some(&self.canaries), revealed.as_ref()].into_iter().flatten() {
            found.extend(canaries.search(&heard.answer, &said));
            found.extend(canaries.search(&heard.aside, &said));
        }
        Ok(found)
    }

    fn run_direct(&mut self, case: &Case, form: Form, steps: &[Step]) -> Result<Heard> {
        around(&mut self.operator, case, |operator| talk(&mut self.direct, operator, case, form, steps))
    }

    fn run_through(&mut self, agent: usize, case: &Case, form: Form, steps: &[Step]) -> Result<Heard> {
        let target = &mut self.agents[agent];
        around(&mut self.operator, case, |operator| talk(target, operator, case, form, steps))
    }
}

fn value(client: &mut Client, sql: &str) -> Result<u32> {
    values(client, sql)?.first().context("a row")?.parse().context("a number")
}

/// What an operator does before and after.
fn around<T>(operator: &mut Client, case: &Case, act: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
    operate(operator, case, case.setup.as_deref())?;
    let done = act(operator).with_context(|| case.id.clone());
    operate(operator, case, case.cleanup.as_deref())?;
    done
}

fn operate(operator: &mut Client, case: &Case, sql: Option<&str>) -> Result<()> {
    let Some(sql) = sql else { return Ok(()) };
    let answer = operator.say(&query(sql), 1, b"")?;
    let failed = answer.iter().any(|(kind, _)| *kind == b'E');
    anyhow::ensure!(!failed, "{}: {sql}: {}", case.id, written(&answer));
    Ok(())
}

/// What a connection was sent.
#[derive(Default)]
struct Heard {
    /// For the steps.
    answer: Vec<Message>,
    /// Before them, from the login on, and after them.
    aside: Vec<Message>,
}

/// Says the steps on a connection, in a transaction that is rolled back unless the case runs alone.
fn talk(
    target: &mut Target,
    operator: &mut Client,
    case: &Case,
    form: Form,
    steps: &[Step],
) -> Result<Heard> {
    if steps.is_empty() {
        return Ok(Heard::default());
    }
    let kept = if case.alone { None } else { target.kept.take() };
    let mut client = match kept {
        Some(client) => client,
        None => Client::connect(target.port, &case.startup)?,
    };
    let mut aside = client.greeting();
    if !case.alone {
        aside.extend(client.say(&query("begin"), 1, b"")?);
    }
    let mut answer: Vec<Message> = vec![];
    let mut open = true;
    let mut last = 0;
    for (number, text) in form.texts(steps).into_iter().enumerate() {
        if number == 1 {
            operate(operator, case, case.meanwhile.as_deref())?;
        }
        let (text, ready) = text.messages(&answer[last..]);
        last = answer.len();
        let part = client.say(&text, ready, case.copy_data.as_bytes())?;
        open = part.last().is_some_and(|(kind, _)| *kind == b'Z');
        answer.extend(part);
        if !open {
            break;
        }
    }
    if open && !case.alone {
        aside.extend(client.say(&query("rollback"), 1, b"")?);
        let ended = client.say(&query("deallocate all"), 1, b"")?;
        if ended.last().is_some_and(|(kind, body)| (*kind, body.as_slice()) == (b'Z', b"I")) {
            target.kept = Some(client);
        }
        aside.extend(ended);
    }
    Ok(Heard { answer, aside })
}

fn outcome(case: &Case, form: Form, policy: Option<Policy>) -> Outcome {
    Outcome {
        case: case.id.clone(),
        theme: case.theme.clone(),
        form,
        policy,
        attacked: case.has_attack(),
        twinned: case.has_twin(),
        refused: false,
        twin_refused: None,
        direct: vec![],
        shown: vec![],
        faults: vec![],
    }
}

/// All the client says, from the login on.
fn said(case: &Case, steps: &[Step]) -> String {
    let startup = case.startup.iter().map(|(_, value)| value.clone());
    startup.chain(steps.iter().map(Step::said)).collect::<Vec<_>>().join("\n")
}

fn channels(found: &[Finding]) -> Vec<&'static str> {
    let mut channels: Vec<_> = found.iter().map(|finding| finding.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}
