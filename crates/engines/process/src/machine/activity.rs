//! What user and service tasks share: a token at rest, and the timers on its edge.

use super::{MAX_TOKENS, Step, StepError, Traveller};
use crate::definition::{Element, Kind};
use crate::effect::Effect;
use crate::instance::Token;

impl Step<'_> {
    /// Puts a token to rest at an activity and gives its new id.
    pub(super) fn rest(&mut self, traveller: Traveller, element: &Element) -> Result<u64, StepError> {
        if self.instance.tokens.len() >= MAX_TOKENS {
            return Err(StepError::StepBudget { element: element.id.clone() });
        }
        let id = self.instance.next_token;
        self.instance.next_token = id.saturating_add(1);
        self.instance.tokens.push(Token {
            id,
            element: element.id.clone(),
            since: self.at,
            timers: Vec::new(),
            answered: traveller.answered,
            side: traveller.side,
        });
        Ok(id)
    }

    /// Sets the timers of the activity at which `id` has come to rest.
    pub(super) fn start_timers(&mut self, id: u64, element: &Element) {
        let def = self.def;
        for (boundary, timer) in def.timers_of(&element.id) {
            if let Some(token) = self.instance.tokens.iter_mut().find(|t| t.id == id) {
                token.timers.push(boundary.id.clone());
            }
            self.effects.push(Effect::StartTimer { token: id, element: boundary.id.clone(), due: timer.due });
        }
    }

    /// Takes a token off the instance, its timers with it.
    pub(super) fn take(&mut self, id: u64) -> Result<Token, StepError> {
        let at = self.instance.tokens.iter().position(|t| t.id == id);
        let token = self.instance.tokens.remove(at.ok_or(StepError::NoSuchToken { token: id })?);
        self.cancel_timers(&token);
        Ok(token)
    }

    /// Tells the runner that the timers still set on this token are not wanted.
    pub(super) fn cancel_timers(&mut self, token: &Token) {
        let cancelled = token.timers.iter();
        self.effects
            .extend(cancelled.map(|timer| Effect::CancelTimer { token: token.id, element: timer.clone() }));
    }

    /// Takes back what the runner was asked to do for this token.
    pub(super) fn withdraw(&mut self, token: &Token, element: &Element) {
        let (token, id) = (token.id, element.id.clone());
        match element.kind {
            Kind::UserTask(_) => self.effects.push(Effect::WithdrawTask { token, element: id }),
            Kind::ServiceTask(_) => self.effects.push(Effect::WithdrawService { token, element: id }),
            _ => {}
        }
    }
}
