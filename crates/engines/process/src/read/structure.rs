//! The process as a graph: whether a case can walk through it, whatever people answer.

use std::collections::HashMap;

use super::error::Problems;
use super::process::{Draft, DraftFlow, DraftNode};
use super::xml::Node;
use crate::definition::Kind;

/// Checks a process and gives the id of its start event.
pub(super) fn check(process: &Node, draft: &Draft, problems: &mut Problems) -> Option<String> {
    let graph = Graph::of(draft);
    references(draft, &graph, problems);
    let start = ends(process, draft, problems);
    for (at, node) in draft.nodes.iter().enumerate() {
        ways(node, &graph, at, problems);
    }
    if let Some(start) = start {
        reach(start, draft, &graph, problems);
    }
    loops(draft, &graph, problems);
    start.and_then(|at| draft.nodes.get(at)).map(|n| n.id.clone())
}

/// Nodes by position, with the flows that really lead somewhere.
struct Graph<'d> {
    at: HashMap<&'d str, usize>,
    out: Vec<Vec<(usize, &'d DraftFlow)>>,
    into: Vec<Vec<usize>>,
    /// Boundary events of each node.
    edge: Vec<Vec<usize>>,
}

impl<'d> Graph<'d> {
    fn of(draft: &'d Draft) -> Self {
        let n = draft.nodes.len();
        let at: HashMap<&str, usize> =
            draft.nodes.iter().enumerate().map(|(i, n)| (n.id.as_str(), i)).collect();
        let mut graph =
            Self { at, out: vec![Vec::new(); n], into: vec![Vec::new(); n], edge: vec![Vec::new(); n] };
        for flow in &draft.flows {
            if let (Some(&from), Some(&to)) = (graph.at.get(&*flow.source), graph.at.get(&*flow.target)) {
                push(&mut graph.out, from, (to, flow));
                push(&mut graph.into, to, from);
            }
        }
        for (i, node) in draft.nodes.iter().enumerate() {
            if let Some(&host) = node.attached_to.as_deref().and_then(|host| graph.at.get(host)) {
                push(&mut graph.edge, host, i);
            }
        }
        graph
    }

    fn out(&self, at: usize) -> &[(usize, &'d DraftFlow)] {
        self.out.get(at).map_or(&[], Vec::as_slice)
    }

    fn into(&self, at: usize) -> &[usize] {
        self.into.get(at).map_or(&[], Vec::as_slice)
    }

    fn edge(&self, at: usize) -> &[usize] {
        self.edge.get(at).map_or(&[], Vec::as_slice)
    }
}

fn push<T>(lists: &mut [Vec<T>], at: usize, item: T) {
    if let Some(list) = lists.get_mut(at) {
        list.push(item);
    }
}

/// Everything referred to is there.
fn references(draft: &Draft, graph: &Graph<'_>, problems: &mut Problems) {
    for flow in &draft.flows {
        for (which, end) in [("sourceRef", &flow.source), ("targetRef", &flow.target)] {
            if !graph.at.contains_key(end.as_str()) {
                problems.add(
                    Some(&flow.id),
                    flow.line,
                    format!("{which}={end:?} is no element of this process"),
                );
            }
        }
    }
    let flows: HashMap<&str, &DraftFlow> = draft.flows.iter().map(|f| (f.id.as_str(), f)).collect();
    for m in &draft.mentions {
        let tag = if m.incoming { "incoming" } else { "outgoing" };
        let agrees =
            flows.get(m.flow.as_str()).map(|f| if m.incoming { &f.target } else { &f.source } == &m.node);
        match agrees {
            Some(true) => {}
            Some(false) => problems.add(
                Some(&m.node),
                m.line,
                format!("<{tag}> names {:?}, which says otherwise", m.flow),
            ),
            None => {
                problems.add(Some(&m.node), m.line, format!("<{tag}> names {:?}, which is no flow", m.flow))
            }
        }
    }
    for node in &draft.nodes {
        let Some(host) = &node.attached_to else { continue };
        match graph.at.get(host.as_str()).and_then(|i| draft.nodes.get(*i)).map(|n| &n.kind) {
            Some(Some(Kind::UserTask(_) | Kind::ServiceTask(_)) | None) => {}
            Some(Some(_)) => {
                problems.add(Some(&node.id), node.line, format!("attachedToRef={host:?} is no task"));
            }
            None => {
                let reason = format!("attachedToRef={host:?} is no element of this process");
                problems.add(Some(&node.id), node.line, reason);
            }
        }
    }
}

/// Exactly one start, at least one end.
fn ends(process: &Node, draft: &Draft, problems: &mut Problems) -> Option<usize> {
    let mut starts = draft.nodes.iter().enumerate().filter(|(_, n)| matches!(n.kind, Some(Kind::StartEvent)));
    let start = starts.next();
    if start.is_none() && !draft.nodes.iter().any(|n| n.kind.is_none()) {
        problems.add(process.id(), process.line, "the process has no start event");
    }
    for (_, second) in starts {
        problems.add(Some(&second.id), second.line, "a second start event; a process has exactly one");
    }
    if !draft.nodes.iter().any(|n| matches!(n.kind, Some(Kind::EndEvent) | None)) {
        problems.add(process.id(), process.line, "the process has no end event");
    }
    start.map(|(at, _)| at)
}

/// How many flows come and go, and which may have conditions.
fn ways(node: &DraftNode, graph: &Graph<'_>, at: usize, problems: &mut Problems) {
    let Some(kind) = &node.kind else { return };
    let out = graph.out(at);
    let mut problem = |reason: String| problems.add(Some(&node.id), node.line, reason);
    match kind {
        Kind::StartEvent | Kind::TimerBoundary(_) if !graph.into(at).is_empty() => {
            problem("no flow may lead to it".into());
        }
        Kind::EndEvent if !out.is_empty() => problem("no flow may leave an end event".into()),
        _ => {}
    }
    match kind {
        Kind::EndEvent => {}
        _ if out.is_empty() => problem("no flow leaves it; lead it to an end event".into()),
        Kind::ExclusiveGateway(gateway) => gateway_ways(gateway.default.as_deref(), out, &mut problem),
        _ if out.len() > 1 => {
            problem("several flows leave it, which makes parallel branches; they are not run yet, use an exclusive gateway".into());
        }
        _ => {}
    }
    if !matches!(kind, Kind::ExclusiveGateway(_)) {
        for (_, flow) in out.iter().filter(|(_, f)| f.conditional) {
            let reason = "a condition on a flow that no exclusive gateway decides about; remove it";
            problems.add(Some(&flow.id), flow.line, reason);
        }
    }
}

fn gateway_ways(default: Option<&str>, out: &[(usize, &DraftFlow)], problem: &mut dyn FnMut(String)) {
    match default {
        Some(default) => match out.iter().find(|(_, f)| f.id == default) {
            Some((_, flow)) if flow.conditional => {
                problem(format!("its default {default:?} has a condition; remove it"))
            }
            Some(_) => {}
            None => problem(format!("its default {default:?} is no flow that leaves it")),
        },
        None if out.len() > 1 || out.iter().any(|(_, f)| f.conditional) => {
            problem(
                "it has no default, so a case could get stuck when no condition holds; name a default flow"
                    .into(),
            );
        }
        None => {}
    }
    if out.len() > 1 {
        for (_, flow) in out.iter().filter(|(_, f)| !f.conditional && default != Some(&f.id)) {
            problem(format!(
                "flow {:?} (line {}) has no condition and is not its default",
                flow.id, flow.line
            ));
        }
    }
}

/// Every element can be come to from the start, and an end can be come to from every element.
fn reach(start: usize, draft: &Draft, graph: &Graph<'_>, problems: &mut Problems) {
    let reached = spread(draft.nodes.len(), vec![start], |at| {
        graph.out(at).iter().map(|(to, _)| *to).chain(graph.edge(at).iter().copied()).collect()
    });
    let is_end = |n: &DraftNode| matches!(n.kind, Some(Kind::EndEvent) | None);
    let ends = draft.nodes.iter().enumerate().filter(|(_, n)| is_end(n)).map(|(i, _)| i).collect();
    // A boundary event offers its host a way out, too.
    let ending = spread(draft.nodes.len(), ends, |at| {
        let host = draft.nodes.get(at).and_then(|n| n.attached_to.as_deref()).and_then(|h| graph.at.get(h));
        graph.into(at).iter().copied().chain(host.copied()).collect()
    });
    for ((node, reached), ending) in draft.nodes.iter().zip(&reached).zip(&ending) {
        if !reached {
            problems.add(Some(&node.id), node.line, "no way leads here from the start event");
        } else if !ending {
            problems.add(Some(&node.id), node.line, "no way leads from here to an end event");
        }
    }
}

fn spread(size: usize, mut from: Vec<usize>, next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut seen = vec![false; size];
    while let Some(at) = from.pop() {
        if let Some(mark) = seen.get_mut(at).filter(|mark| !**mark) {
            *mark = true;
            from.extend(next(at));
        }
    }
    seen
}

/// No loop without a user task in it: with gateways alone it would never end, with services it would
/// call them as fast as they answer. Elements with no way in or no way out are peeled off until only
/// loops, and what lies between two of them, is left.
fn loops(draft: &Draft, graph: &Graph<'_>, problems: &mut Problems) {
    let waits =
        |at: usize| matches!(draft.nodes.get(at).map(|n| &n.kind), Some(Some(Kind::UserTask(_)) | None));
    let mut left: Vec<bool> = (0..draft.nodes.len()).map(|at| !waits(at)).collect();
    loop {
        let there = |at: usize| left.get(at).copied().unwrap_or(false);
        let peel: Vec<usize> = (0..draft.nodes.len())
            .filter(|&at| there(at))
            .filter(|&at| {
                !graph.into(at).iter().any(|&from| there(from))
                    || !graph.out(at).iter().any(|&(to, _)| there(to))
            })
            .collect();
        if peel.is_empty() {
            break;
        }
        for at in peel {
            if let Some(mark) = left.get_mut(at) {
                *mark = false;
            }
        }
    }
    let circle: Vec<&DraftNode> =
        draft.nodes.iter().zip(&left).filter(|(_, l)| **l).map(|(n, _)| n).collect();
    if let Some(first) = circle.first() {
        let ids: Vec<&str> = circle.iter().take(8).map(|n| n.id.as_str()).collect();
        let reason =
            format!("a loop without a user task ({}): the case would go round for ever", ids.join(", "));
        problems.add(Some(&first.id), first.line, reason);
    }
}
