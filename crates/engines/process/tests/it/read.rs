//! Reading: what is understood, and everything that is refused with its id and line.

use crate::{definition, file, flows};
use model::IsoDuration;
use process::Kind;

const TASK: &str = r#"<userTask id="t" zs:post="duty" />"#;

/// `elements` between a start `s` and an end `e`; each on the line it is written on, from 3.
fn between(elements: &str, ways: &str) -> String {
    file(&format!("<startEvent id=\"s\" /><endEvent id=\"e\" />{}\n{elements}", flows(ways)))
}

#[test]
fn any_prefix_names_the_same() {
    for prefix in ["", "bpmn:", "bpmn2:", "semantic:"] {
        let p = prefix.trim_end_matches(':');
        let declare = if p.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{p}") };
        let xml = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<{prefix}definitions {declare}="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:ours="http://zhongshu.city/bpmn/1.0" xmlns:di="http://www.omg.org/spec/BPMN/20100524/DI">
  <{prefix}process id="p" name="处置" ours:title-en="Response" ours:due="PT24H" isExecutable="true">
    <{prefix}startEvent id="s"><{prefix}outgoing>{prefix}f1</{prefix}outgoing></{prefix}startEvent>
    <{prefix}userTask id="t" name="签收" ours:name-en="Accept" ours:post="duty" ours:levels="duty chief" ours:escalation="PT10M" ours:due="PT30M" ours:form="sign" ours:acknowledge="true" />
    <{prefix}endEvent id="e" />
    <{prefix}sequenceFlow id="f1" sourceRef="s" targetRef="t" /><{prefix}sequenceFlow id="f2" sourceRef="t" targetRef="e" />
  </{prefix}process>
  <di:BPMNDiagram id="d"><di:BPMNPlane id="pl" bpmnElement="p"><di:BPMNShape id="s_di" bpmnElement="s" /></di:BPMNPlane></di:BPMNDiagram>
</{prefix}definitions>"#
        );
        let def = definition(&xml);
        assert_eq!((def.key(), &*def.name().zh, &*def.name().en), ("p", "处置", "Response"), "{prefix}");
        assert_eq!(def.due(), Some(IsoDuration::parse("PT24H").unwrap()));
        let (element, task) = (def.element("t").unwrap(), def.user_task("t").unwrap());
        assert_eq!((&*element.name.zh, &*element.name.en, element.line), ("签收", "Accept", 5));
        assert_eq!((&*task.post, task.levels.len(), task.acknowledge), ("duty", 2, true));
        assert_eq!(task.escalation, Some(IsoDuration::parse("PT10M").unwrap()));
        assert_eq!(task.due, Some(IsoDuration::parse("PT30M").unwrap()));
        assert_eq!(task.form.as_deref(), Some("sign"));
    }
}

#[test]
fn what_changes_nothing_is_read_over() {
    let xml = file(&format!(
        r#"<documentation>why</documentation><laneSet id="l"><lane id="l1"><flowNodeRef>s</flowNodeRef></lane></laneSet>
        <startEvent id="s" camunda:initiator="x"><extensionElements><camunda:formData /></extensionElements></startEvent>
        <textAnnotation id="note"><text>注意 &amp; &#x4e2d;</text></textAnnotation><association id="as" sourceRef="s" targetRef="note" />
        <endEvent id="e" /><!-- done --><serviceTask id="v" implementation="x" zs:service="notify" zs:param-message="m&amp;n" zs:param-a-b="c" />{}"#,
        flows("s>v v>e")
    ));
    let def = definition(&xml);
    let Kind::ServiceTask(service) = &def.element("v").unwrap().kind else { panic!() };
    assert_eq!(service.service, "notify");
    let params: Vec<_> = service.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(params, [("a-b", "c"), ("message", "m&n")]);
    assert_eq!(def.elements().len(), 3);
}

#[test]
fn only_executable_processes_are_read() {
    let sound = between(TASK, "s>t t>e");
    let two =
        sound.replace("</definitions>", r#"<process id="drawn"><task id="x" /></process></definitions>"#);
    assert_eq!(process::read(&two).unwrap().len(), 1);
    let none = sound.replace(r#"isExecutable="true""#, "");
    assert!(process::read(&none).unwrap_err().to_string().contains("no process with isExecutable"));
}

#[test]
fn tasks_are_listed_in_the_order_a_case_comes_to_them() {
    let conditional = r#"<exclusiveGateway id="g" default="g-b" /><sequenceFlow id="g-z" sourceRef="g" targetRef="z"><conditionExpression>true</conditionExpression></sequenceFlow>"#;
    let task = |id: &str| format!(r#"<userTask id="{id}" zs:post="duty" />"#);
    let tasks: String = ["z", "c", "b", "a"].map(task).concat();
    let xml = between(&format!("{tasks}{conditional}"), "s>a a>g g>b b>c c>z z>e");
    let def = definition(&xml);
    let order: Vec<_> = def.user_tasks().iter().map(|e| e.id.clone()).collect();
    assert_eq!(order, ["a", "b", "c", "z"]);
}

/// (what is wrong, the file, element, line, part of the reason)
#[test]
fn refused_with_element_and_line() {
    let g =
        |attributes: &str, rest: &str| format!("{TASK}\n<exclusiveGateway id=\"g\" {attributes} />{rest}");
    let when = |id: &str, to: &str, c: &str| {
        format!(
            "\n<sequenceFlow id=\"{id}\" sourceRef=\"g\" targetRef=\"{to}\"><conditionExpression>{c}</conditionExpression></sequenceFlow>"
        )
    };
    let timer = |inside: &str| {
        format!(
            "{TASK}\n<boundaryEvent id=\"b\" attachedToRef=\"t\">{inside}</boundaryEvent>{}",
            flows("b>e")
        )
    };
    let user = |attributes: &str| format!("<userTask id=\"t\" {attributes} />");
    let line = "s>t t>e";
    let cases: Vec<(String, Option<&str>, u32, &str)> = vec![
        // Kinds that are not run yet.
        (
            between(&format!("{TASK}\n<parallelGateway id=\"g\" />"), "s>t t>g g>e"),
            Some("g"),
            4,
            "parallelGateway is not run yet",
        ),
        (between("<subProcess id=\"t\" />", line), Some("t"), 3, "subProcess is not run yet"),
        (between("<scriptTask id=\"t\" />", line), Some("t"), 3, "scriptTask is not run yet"),
        (between("<callActivity id=\"t\" />", line), Some("t"), 3, "callActivity is not run yet"),
        (between("<task id=\"t\" />", line), Some("t"), 3, "task is not run yet"),
        (
            between(
                "<intermediateCatchEvent id=\"t\"><timerEventDefinition /></intermediateCatchEvent>",
                line,
            ),
            Some("t"),
            3,
            "intermediateCatchEvent",
        ),
        (
            between(
                "<userTask id=\"t\" zs:post=\"d\">\n<multiInstanceLoopCharacteristics /></userTask>",
                line,
            ),
            Some("t"),
            3,
            "multiInstanceLoopCharacteristics of userTask (line 4)",
        ),
        (between(&timer("<messageEventDefinition />"), line), Some("b"), 4, "messageEventDefinition"),
        (
            between(
                &timer(
                    "<timerEventDefinition><timeDate>2026-01-01T00:00:00Z</timeDate></timerEventDefinition>",
                ),
                line,
            ),
            Some("b"),
            4,
            "timeDate",
        ),
        (
            between(
                &timer("<timerEventDefinition><timeCycle>R3/PT1H</timeCycle></timerEventDefinition>"),
                line,
            ),
            Some("b"),
            4,
            "timeCycle",
        ),
        (between(&timer("<timerEventDefinition />"), line), Some("b"), 4, "no timeDuration"),
        (between(&timer(""), line), Some("b"), 4, "exactly one timerEventDefinition"),
        (
            between(
                &timer(
                    "<timerEventDefinition><timeDuration>10 minutes</timeDuration></timerEventDefinition>",
                ),
                line,
            ),
            Some("b"),
            4,
            "ISO 8601",
        ),
        (
            between(
                &timer("<timerEventDefinition><timeDuration>P1M</timeDuration></timerEventDefinition>"),
                line,
            ),
            Some("b"),
            4,
            "months",
        ),
        (
            between(
                &timer("<timerEventDefinition><timeDuration>PT0S</timeDuration></timerEventDefinition>"),
                line,
            ),
            Some("b"),
            4,
            "above zero",
        ),
        (
            file(&format!(
                "<startEvent id=\"s\"><messageEventDefinition /></startEvent>{TASK}<endEvent id=\"e\" />{}",
                flows(line)
            )),
            Some("s"),
            2,
            "messageEventDefinition",
        ),
        (
            file(&format!(
                "<startEvent id=\"s\" />{TASK}<endEvent id=\"e\"><terminateEventDefinition /></endEvent>{}",
                flows(line)
            )),
            Some("e"),
            2,
            "terminateEventDefinition",
        ),
        (
            between("<userTask id=\"t\" zs:post=\"d\" isForCompensation=\"true\" />", line),
            Some("t"),
            3,
            "isForCompensation",
        ),
        (
            between("<userTask id=\"t\" zs:post=\"d\" default=\"t-e\" />", line),
            Some("t"),
            3,
            "attribute \"default\"",
        ),
        // Our own attributes.
        (between(&user(""), line), Some("t"), 3, "names no post"),
        (between(&user("zs:post=\"d\" zs:colour=\"red\""), line), Some("t"), 3, "no attribute zs:colour"),
        (between(&user("zs:post=\"d\" zs:due=\"soon\""), line), Some("t"), 3, "zs:due"),
        (
            between(&user("zs:post=\"d\" zs:acknowledge=\"yes\""), line),
            Some("t"),
            3,
            "neither true nor false",
        ),
        (
            between(&user("zs:post=\"d\" zs:levels=\"x d\" zs:escalation=\"PT1M\""), line),
            Some("t"),
            3,
            "the first of zs:levels",
        ),
        (
            between(&user("zs:post=\"d\" zs:levels=\"d x d\" zs:escalation=\"PT1M\""), line),
            Some("t"),
            3,
            "a post twice",
        ),
        (between(&user("zs:post=\"d\" zs:levels=\"d x\""), line), Some("t"), 3, "zs:escalation needs"),
        (between(&user("zs:post=\"d\" zs:escalation=\"PT1M\""), line), Some("t"), 3, "zs:escalation needs"),
        (between(&user("zs:post=\"d\" zs:form=\"../etc\""), line), Some("t"), 3, "not a name"),
        (between("<serviceTask id=\"t\" />", line), Some("t"), 3, "names no service"),
        (
            between("<serviceTask id=\"t\" zs:service=\"n\" zs:param-=\"x\" />", line),
            Some("t"),
            3,
            "no attribute zs:param-",
        ),
        (between(&format!("{TASK}\n<zs:escalate id=\"z\" />"), line), Some("z"), 4, "no element zs:escalate"),
        // References.
        (between(TASK, "s>t t>e t>nowhere"), Some("t-nowhere"), 2, "is no element"),
        (
            between(&format!("{TASK}\n<sequenceFlow id=\"f\" targetRef=\"e\" />"), line),
            Some("f"),
            4,
            "no sourceRef",
        ),
        (
            between(&format!("{TASK}\n<sequenceFlow sourceRef=\"t\" targetRef=\"e\" />"), line),
            None,
            4,
            "no id",
        ),
        (
            between(&format!("{TASK}\n<userTask id=\"t\" zs:post=\"d\" />"), line),
            Some("t"),
            4,
            "used before, in line 3",
        ),
        (
            between("<userTask id=\"t\" zs:post=\"d\">\n<incoming>t-e</incoming></userTask>", line),
            Some("t"),
            4,
            "says otherwise",
        ),
        (
            between("<userTask id=\"t\" zs:post=\"d\">\n<incoming>ghost</incoming></userTask>", line),
            Some("t"),
            4,
            "is no flow",
        ),
        (
            between(
                &timer("<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>")
                    .replace("attachedToRef=\"t\"", "attachedToRef=\"q\""),
                line,
            ),
            Some("b"),
            4,
            "is no element",
        ),
        (
            between(
                &timer("<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>")
                    .replace("attachedToRef=\"t\"", "attachedToRef=\"e\""),
                line,
            ),
            Some("b"),
            4,
            "is no task",
        ),
        // The graph.
        (file(&format!("{TASK}<endEvent id=\"e\" />{}", flows("t>e"))), Some("p"), 1, "no start event"),
        (file(&format!("<startEvent id=\"s\" />{TASK}{}", flows("s>t t>s"))), Some("p"), 1, "no end event"),
        (
            between(&format!("{TASK}\n<startEvent id=\"s2\" />"), "s>t s2>t t>e"),
            Some("s2"),
            4,
            "second start event",
        ),
        (
            between(&format!("{TASK}\n<userTask id=\"u\" zs:post=\"d\" />"), "s>t t>e u>e"),
            Some("u"),
            4,
            "no way leads here",
        ),
        (
            between(&format!("{TASK}\n<userTask id=\"u\" zs:post=\"d\" />"), "s>t t>e"),
            Some("u"),
            4,
            "no flow leaves it",
        ),
        (
            between(
                &g(
                    "default=\"g-u\"",
                    "\n<userTask id=\"u\" zs:post=\"d\" /><userTask id=\"v\" zs:post=\"d\" /><sequenceFlow id=\"ge\" sourceRef=\"g\" targetRef=\"e\"><conditionExpression>true</conditionExpression></sequenceFlow>",
                ),
                "s>t t>g g>u u>v v>u",
            ),
            Some("u"),
            5,
            "no way leads from here",
        ),
        (
            between(&format!("{TASK}\n<userTask id=\"u\" zs:post=\"d\" />"), "s>t t>e t>u u>e"),
            Some("t"),
            3,
            "parallel branches",
        ),
        (between(TASK, "s>t t>e e>t"), Some("e"), 2, "no flow may leave an end event"),
        (between(TASK, "s>t t>s t>e"), Some("s"), 2, "no flow may lead to it"),
        (between(&g("", &when("f", "t", "true")), "s>t t>g g>e"), Some("g"), 4, "no default"),
        (
            between(&g("default=\"ghost\"", &when("f", "t", "true")), "s>t t>g g>e"),
            Some("g"),
            4,
            "is no flow that leaves it",
        ),
        (
            between(&g("default=\"f\"", &when("f", "t", "true")), "s>t t>g g>e"),
            Some("g"),
            4,
            "has a condition",
        ),
        (between(&g("default=\"g-e\"", ""), "s>t t>g g>e g>t"), Some("g"), 4, "has no condition"),
        (
            between(&g("default=\"g-e\"", &when("f", "t", "outcome =")), "s>t t>g g>e"),
            Some("f"),
            5,
            "not valid CEL",
        ),
        (
            between(
                &g(
                    "default=\"g-e\"",
                    &when("f", "t", "true").replace(
                        "<conditionExpression",
                        "<conditionExpression language=\"https://www.w3.org/1999/XPath\"",
                    ),
                ),
                "s>t t>g g>e",
            ),
            Some("f"),
            5,
            "written in CEL",
        ),
        (
            between(&g("default=\"g-e\"", &when("f", "h", "true")), "s>g g>e")
                .replace(TASK, "<exclusiveGateway id=\"h\" />")
                .replace("targetRef=\"h\">", "targetRef=\"h\"><documentation />"),
            Some("h"),
            3,
            "no flow leaves it",
        ),
        (
            between(&g("default=\"g-e\"", &when("f", "h", "true")), "s>g g>e h>g")
                .replace(TASK, "<exclusiveGateway id=\"h\" />"),
            Some("h"),
            3,
            "a loop without a user task",
        ),
        (
            between(&g("default=\"g-e\"", &when("f", "h", "true")), "s>g g>e h>g")
                .replace(TASK, "<serviceTask id=\"h\" zs:service=\"n\" />"),
            Some("h"),
            3,
            "a loop without a user task",
        ),
        (
            between(
                &format!(
                    "{TASK}\n<sequenceFlow id=\"f\" sourceRef=\"t\" targetRef=\"e\"><conditionExpression>true</conditionExpression></sequenceFlow>"
                ),
                "s>t",
            ),
            Some("f"),
            4,
            "no exclusive gateway decides",
        ),
        // The file.
        ("<definitions />".to_owned(), None, 1, "the root is not <definitions>"),
        (String::new(), None, 1, "the file is empty"),
        ("<a>\n<b>\n</a>".to_owned(), None, 3, "not well-formed"),
        ("<a>\n<b>".to_owned(), None, 2, "<b> is never closed"),
        ("<a />\n<b />".to_owned(), None, 2, "a second root"),
        ("<a>\n&xxe;</a>".to_owned(), None, 2, "&xxe;"),
        ("<a>\n<x:b /></a>".to_owned(), None, 2, "has no namespace"),
        ("<!DOCTYPE a [<!ENTITY b \"c\">]>\n<a>&b;</a>".to_owned(), None, 1, "document type"),
        ("<a>".repeat(100), None, 1, "deeper than"),
        (" ".repeat(process::read::MAX_BYTES + 1), None, 1, "bytes"),
        (between(&TASK.repeat(process::read::MAX_ELEMENTS), line), None, 1, "elements and flows"),
    ];
    for (xml, element, line, reason) in cases {
        let errors = process::read(&xml).expect_err(reason);
        let found = errors
            .0
            .iter()
            .any(|e| e.element.as_deref() == element && e.line == line && e.reason.contains(reason));
        assert!(
            found,
            "wanted {element:?} line {line} {reason:?}, got:\n{errors}\n{}",
            &xml[..xml.len().min(3000)]
        );
    }
}

#[test]
fn all_problems_at_once_and_each_once() {
    let xml = between(
        "<parallelGateway id=\"g\" />\n<userTask id=\"t\" zs:due=\"x\" />\n<userTask id=\"lost\" zs:post=\"d\" />",
        "s>g g>t t>e lost>e",
    );
    let errors = process::read(&xml).unwrap_err();
    let got: Vec<_> = errors.0.iter().map(|e| (e.element.as_deref().unwrap_or("-"), e.line)).collect();
    assert_eq!(got, [("g", 3), ("t", 4), ("t", 4), ("lost", 5)], "{errors}");
    assert!(errors.to_string().starts_with("line 3, g: parallelGateway is not run yet"), "{errors}");
}

#[test]
fn a_long_chain_is_read_and_listed() {
    let n = 900;
    let tasks: String = (0..n).map(|i| format!("<userTask id=\"t{i}\" zs:post=\"d\" />")).collect();
    let ways: String = (1..n).map(|i| format!("t{}>t{i} ", i - 1)).collect();
    let def = definition(&between(&tasks, &format!("s>t0 {ways} t{}>e", n - 1)));
    assert_eq!(def.user_tasks().len(), n);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = process::read(&text);
    }

    /// Damage to a sound file: cut, doubled or overwritten somewhere.
    #[test]
    fn no_damage_makes_it_panic(at in 0usize..2000, length in 0usize..60, with in "[<>/&;\"=a-z !-]{0,8}") {
        let mut xml: Vec<char> = crate::pack::file().chars().collect();
        let at = (at * 7) % xml.len();
        let to = (at + length).min(xml.len());
        xml.splice(at..to, with.chars());
        let _ = process::read(&xml.into_iter().collect::<String>());
    }
}
