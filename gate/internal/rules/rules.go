// Package rules decides whether a request may be made: each rule by its access first, then by its `deny`, then by its
// `allow`. A request that one of them refuses is refused. It knows no HTTP and no cluster.
package rules

import (
	"fmt"
	"slices"

	"gate/internal/asked"
	"gate/internal/config"
)

// Refusal is a decision against a request: Rule is for the record, Reason for whoever made it.
type Refusal struct{ Rule, Reason string }

// Rules are one run's: all of them hold.
type Rules []*rule

type rule struct {
	access  config.Access
	secrets config.Secrets
	name    string
	allow   []entry
	deny    []entry
	narrow  bool // there is an `allow`, if only an empty one
}

// New prepares what the configuration says.
func New(given ...config.Rule) Rules {
	rules := make(Rules, len(given))
	for i, one := range given {
		rules[i] = &rule{
			access: one.Access, secrets: one.Secrets, name: one.Name, narrow: one.Allow != nil,
			allow: entries(one.Allow), deny: entries(one.Deny),
		}
	}
	return rules
}

// Decide returns nil for a request that may be made.
func (r Rules) Decide(request *asked.Request) *Refusal {
	for _, rule := range r {
		if refusal := rule.decide(request); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Dry says whether a request that was allowed must be sent with `dryRun`.
func (r Rules) Dry(request *asked.Request) bool {
	return slices.ContainsFunc(r, func(rule *rule) bool { return rule.dry(request) })
}

// Masked says whether the answer to a request that was allowed holds Secrets whose values must not be seen.
func (r Rules) Masked(request *asked.Request) bool {
	return slices.ContainsFunc(r, func(rule *rule) bool { return rule.masked(request) })
}

func (r *rule) decide(request *asked.Request) *Refusal {
	if refusal := r.preset(request); refusal != nil {
		return refusal
	}
	for _, ask := range asksOf(request) {
		if refusal := r.lists(ask); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (r *rule) lists(ask attributes) *Refusal {
	for _, entry := range r.deny {
		if entry.mayMean(ask) {
			reason := fmt.Sprintf("%s refuses it", entry.Name)
			return &Refusal{Rule: entry.Name, Reason: with(reason, entry.because(ask), ask.why)}
		}
	}
	if !r.narrow || everybodys(ask) {
		return nil
	}
	for _, entry := range r.allow {
		if entry.surelyMeans(ask) {
			return nil
		}
	}
	return &Refusal{
		Rule:   r.name + ": allow",
		Reason: with(fmt.Sprintf("no entry of allow in %s names it", r.name), ask.why),
	}
}

func with(reason string, whys ...string) string {
	for _, why := range whys {
		if why != "" {
			reason += ": " + why
		}
	}
	return reason
}
