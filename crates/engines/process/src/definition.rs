//! What a process says: its elements, flows, posts and deadlines.
//!
//! A [`Definition`] is made by [`read`](crate::read()) alone, which has checked it; the machine relies
//! on that (every reference resolves, every element can be reached and left, no loop without a user
//! task). It is immutable: a case keeps the version it was started with.

use std::collections::{BTreeMap, HashMap};

use model::{IsoDuration, Text};
use serde::Serialize;

use crate::condition::Condition;

/// One executable process.
#[derive(Clone, Debug, Serialize)]
pub struct Definition {
    key: String,
    name: Text,
    due: Option<IsoDuration>,
    start: String,
    elements: Vec<Element>,
    flows: Vec<Flow>,
    #[serde(skip)]
    element_at: HashMap<String, usize>,
    #[serde(skip)]
    flow_at: HashMap<String, usize>,
}

/// A flow node of BPMN (events, activities and gateways).
#[derive(Clone, Debug, Serialize)]
pub struct Element {
    /// The `id` of the file.
    pub id: String,
    /// `name` and `zs:name-en`; English falls back to Chinese, both to the id.
    pub name: Text,
    /// The line of the file, from 1.
    pub line: u32,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// Ids of the flows out of it, in the order of the file.
    pub outgoing: Vec<String>,
}

/// The kinds of element that the engine runs.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Kind {
    /// Where a case begins (none start event, BPMN 2.0.2 §10.5.2).
    StartEvent,
    /// Where a token ends (none end event, §10.5.3).
    EndEvent,
    /// A person does it (§10.3.3).
    UserTask(UserTask),
    /// A registered service does it (§10.3.3).
    ServiceTask(ServiceTask),
    /// The first flow whose condition holds, or the default (§10.6.2); also a merge.
    ExclusiveGateway(ExclusiveGateway),
    /// A timer on an activity (§10.5.4, boundary).
    TimerBoundary(TimerBoundary),
}

/// What a user task says beyond BPMN's own attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserTask {
    /// `zs:post`: the post (岗位) that gets the task first.
    pub post: String,
    /// `zs:levels`: the chain of posts that it climbs, the first of them `post`; just `post` when
    /// the file says nothing.
    pub levels: Vec<String>,
    /// `zs:escalation`: how long each level has before the next one gets the task too. Carried out
    /// by `base/work`: to the machine an escalated task is one token.
    pub escalation: Option<IsoDuration>,
    /// `zs:due`: how long the task may take, from its opening.
    pub due: Option<IsoDuration>,
    /// `zs:form`: the key of its form, `forms/<key>.schema.json`.
    pub form: Option<String>,
    /// `zs:acknowledge`: completing it acknowledges (签收) the case's alerts.
    pub acknowledge: bool,
}

/// Which service a service task calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceTask {
    /// `zs:service`: the registered name.
    pub service: String,
    /// `zs:param-<name>` by name.
    pub params: BTreeMap<String, String>,
}

/// Where an exclusive gateway goes when no condition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExclusiveGateway {
    /// The `default` flow; absent only on a gateway with a single way out.
    pub default: Option<String>,
}

/// A timer on the edge of an activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimerBoundary {
    /// The activity.
    pub attached_to: String,
    /// `cancelActivity`: whether firing ends the activity or only sends a second token out.
    pub interrupting: bool,
    /// `timeDuration`, from the moment the activity begins.
    pub due: IsoDuration,
}

/// A sequence flow (§10.6).
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// The `id` of the file.
    pub id: String,
    /// `name` and `zs:name-en`; both empty when the flow has no name.
    pub name: Text,
    /// The line of the file, from 1.
    pub line: u32,
    /// The element it leaves.
    pub source: String,
    /// The element it goes to.
    pub target: String,
    /// Whether a gateway takes it; absent on defaults and on flows that are always taken.
    pub condition: Option<Condition>,
}

impl Definition {
    /// Puts a checked process together; `start` is the id of its start event.
    pub(crate) fn new(
        key: String,
        name: Text,
        due: Option<IsoDuration>,
        start: String,
        elements: Vec<Element>,
        flows: Vec<Flow>,
    ) -> Self {
        let element_at = elements.iter().enumerate().map(|(i, e)| (e.id.clone(), i)).collect();
        let flow_at = flows.iter().enumerate().map(|(i, f)| (f.id.clone(), i)).collect();
        Self { key, name, due, start, elements, flows, element_at, flow_at }
    }

    /// The process id: what bindings and cases name it by.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `name` and `zs:title-en` of the process.
    #[must_use]
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// `zs:due` of the process: how long a case may take.
    #[must_use]
    pub fn due(&self) -> Option<IsoDuration> {
        self.due
    }

    /// The id of the start event.
    #[must_use]
    pub fn start(&self) -> &str {
        &self.start
    }

    /// All elements, in the order of the file.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// All sequence flows, in the order of the file.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The element with this id.
    #[must_use]
    pub fn element(&self, id: &str) -> Option<&Element> {
        self.element_at.get(id).and_then(|i| self.elements.get(*i))
    }

    /// The flow with this id.
    #[must_use]
    pub fn flow(&self, id: &str) -> Option<&Flow> {
        self.flow_at.get(id).and_then(|i| self.flows.get(*i))
    }

    /// The user task with this id.
    #[must_use]
    pub fn user_task(&self, id: &str) -> Option<&UserTask> {
        match &self.element(id)?.kind {
            Kind::UserTask(task) => Some(task),
            _ => None,
        }
    }

    /// The timers on the edge of an activity, in the order of the file.
    pub fn timers_of<'a>(
        &'a self,
        activity: &'a str,
    ) -> impl Iterator<Item = (&'a Element, &'a TimerBoundary)> {
        self.timers().filter(move |(_, timer)| timer.attached_to == activity)
    }

    /// All timers, in the order of the file.
    pub fn timers(&self) -> impl Iterator<Item = (&Element, &TimerBoundary)> {
        self.elements.iter().filter_map(|e| match &e.kind {
            Kind::TimerBoundary(timer) => Some((e, timer)),
            _ => None,
        })
    }

    /// The user tasks in the order a case comes to them: every task after those that lead to it,
    /// loops back left aside. For a list of steps.
    #[must_use]
    pub fn user_tasks(&self) -> Vec<&Element> {
        let mut order = self.reverse_postorder();
        order.retain(|e| matches!(e.kind, Kind::UserTask(_)));
        order
    }

    /// Elements from the start on, each before those it leads to (back edges of loops aside): the
    /// reverse of the order in which a depth-first walk leaves them. Written without recursion, so
    /// that a long chain needs no stack.
    fn reverse_postorder(&self) -> Vec<&Element> {
        let mut seen = vec![false; self.elements.len()];
        let mut left = Vec::new();
        let mut path: Vec<(usize, std::vec::IntoIter<usize>)> = Vec::new();
        let enter = |at: usize, seen: &mut Vec<bool>| {
            if let Some(mark) = seen.get_mut(at) {
                *mark = true;
            }
            (at, self.next_of(at).into_iter())
        };
        if let Some(start) = self.element_at.get(&self.start) {
            path.push(enter(*start, &mut seen));
        }
        while let Some((at, ahead)) = path.last_mut() {
            match ahead.next() {
                Some(next) if !seen.get(next).copied().unwrap_or(true) => path.push(enter(next, &mut seen)),
                Some(_) => {}
                None => {
                    left.push(*at);
                    path.pop();
                }
            }
        }
        left.into_iter().rev().filter_map(|i| self.elements.get(i)).collect()
    }

    /// Where one can go from an element: its own flows last to first, then its timers, so that the
    /// reversed order shows the first branch of the file first and side branches after it.
    fn next_of(&self, at: usize) -> Vec<usize> {
        let Some(element) = self.elements.get(at) else { return Vec::new() };
        let timers = self.timers_of(&element.id).filter_map(|(e, _)| self.element_at.get(&e.id).copied());
        let flows = element.outgoing.iter().rev().filter_map(|id| self.flow(id));
        timers.chain(flows.filter_map(|f| self.element_at.get(&f.target).copied())).collect()
    }
}
