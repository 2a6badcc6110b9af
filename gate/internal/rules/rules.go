// Package rules decides whether a request may be made: by the run's access first, then by `deny`, then by `allow`. It
// knows no HTTP and no cluster.
package rules

import (
	"fmt"

	"gate/internal/asked"
	"gate/internal/config"
)

// Refusal is a decision against a request: Rule is for the record, Reason for whoever made it.
type Refusal struct{ Rule, Reason string }

// Rules are one run's.
type Rules struct {
	access  config.Access
	secrets config.Secrets
	rule    string
	allow   []entry
	deny    []entry
	narrow  bool // there is an `allow`, if only an empty one
}

// New prepares what the configuration says.
func New(c *config.Configuration) *Rules {
	return &Rules{
		access: c.Access, secrets: c.Secrets, rule: c.Rule, narrow: c.Allow != nil,
		allow: entries(c.Allow), deny: entries(c.Deny),
	}
}

// Decide returns nil for a request that may be made.
func (r *Rules) Decide(request *asked.Request) *Refusal {
	if refusal := r.preset(request); refusal != nil {
		return refusal
	}
	asks := []attributes{attributesOf(request)}
	for _, identity := range request.As {
		asks = append(asks, attributesAs(identity))
	}
	for _, ask := range asks {
		if refusal := r.lists(ask); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (r *Rules) lists(ask attributes) *Refusal {
	for _, entry := range r.deny {
		if entry.mayMean(ask) {
			reason := fmt.Sprintf("%s refuses it", entry.rule)
			if why := entry.because(ask); why != "" {
				reason += ": " + why
			}
			return &Refusal{Rule: entry.rule, Reason: reason}
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
		Rule:   r.rule + ": allow",
		Reason: fmt.Sprintf("no entry of allow in %s names it", r.rule),
	}
}
