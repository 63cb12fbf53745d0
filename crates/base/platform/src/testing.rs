//! Small cities and callers, for the tests of other rooms.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use model::{Actor, AreaPath, Context, Grant, Id, Micros};
use store::{Store, new_id};

use crate::http::{Api, Caller};
use crate::session::Session;

/// A context of the hub itself.
#[must_use]
pub fn system() -> Context {
    Context::system("test", new_id())
}

/// A caller who holds `permissions` at `area`.
///
/// # Panics
/// When `area` is not a path.
#[must_use]
#[expect(clippy::expect_used, reason = "a test with a wrong path cannot go on")]
pub fn caller(person: Id, name: &str, area: &str, permissions: &[&str]) -> Caller {
    let area = AreaPath::parse(area).expect("an area path");
    let permissions = permissions.iter().map(|p| (*p).to_owned()).collect();
    let grant = Grant { role: "test".into(), permissions, area };
    Caller {
        context: Context {
            actor: Actor::Person { id: person, name: name.into() },
            grants: vec![grant],
            request_id: new_id(),
            idempotency_key: None,
        },
        person,
        permission: None,
        session: Arc::new(Session {
            id: new_id(),
            person,
            login: name.into(),
            name: name.into(),
            csrf: String::new(),
            expires_at: Micros(i64::MAX),
            grants: Vec::new(),
            need: None,
        }),
        token: String::new(),
    }
}

/// The routes as `caller` sees them: access is checked as in the hub, without a login.
pub fn as_caller(api: Api<()>, caller: Caller) -> Router {
    api.split().0.layer(from_fn(move |mut request: Request, next: Next| {
        let mut caller = caller.clone();
        caller.context.request_id = new_id();
        let key = request.headers().get("idempotency-key").and_then(|k| k.to_str().ok());
        caller.context.idempotency_key = key.map(ToOwned::to_owned);
        crate::http::testing_identity(&mut request, caller);
        next.run(request)
    }))
}

/// Imports a city of one estate: `50/500112/500112011/500112011014/jz/` with two buildings
/// (`jz-01`, `jz-02`), one unit each and floors 1 to 3, and the posts of the four levels.
///
/// # Panics
/// When the store does not take it.
#[expect(clippy::expect_used, reason = "a test without its city cannot go on")]
pub async fn small_city(store: &Store) {
    let mut areas = String::from(
        "code,level,parent,name_zh,name_en\n50,city,,重庆市,Chongqing\n500112,district,50,渝北区,Yubei\n\
         500112011,street,500112,龙溪街道,Longxi\n500112011014,community,500112011,嘉州社区,Jiazhou\n\
         jz,estate,500112011014,加州花园,Jiazhou Garden\n",
    );
    for b in 1..=2 {
        areas.push_str(&format!(
            "jz-0{b},building,jz,{b} 栋,Building {b}\njz-0{b}-u1,unit,jz-0{b},1 单元,Unit 1\n"
        ));
        for f in 1..=3 {
            areas.push_str(&format!("jz-0{b}-u1-f{f},floor,jz-0{b}-u1,{f} 层,Floor {f}\n"));
        }
    }
    let posts = "code,name_zh,name_en,level\nproperty-duty,物业值班岗,Property duty,estate\n\
        community-duty,社区值班岗,Community duty,community\nstreet-duty,街道值班岗,Street duty,street\n\
        district-duty,区值班岗,District duty,district\n";
    crate::import::areas(store, &system(), &areas).await.expect("areas");
    crate::import::posts(store, &system(), posts).await.expect("posts");
}

/// A person on duty.
///
/// # Panics
/// When the store does not take it.
#[expect(clippy::expect_used, reason = "a test without its people cannot go on")]
pub async fn person_on_duty(store: &Store, login: &str, post: &str, area: &str) -> Id {
    let account = crate::person::NewAccount {
        login: login.into(),
        name: login.into(),
        duties: vec![(post.into(), AreaPath::parse(area).expect("an area path"))],
        ..Default::default()
    };
    crate::person::create_account(store, &system(), account, None).await.expect("an account")
}
