// The columns of a record, wherever records are shown.

import { foreign, h } from "../dom.js";
import { count } from "../format.js";
import { alignedBadge, dispositionBadge } from "../words.js";

export const recordColumns = [
  { name: "Messages", number: true, cell: (item) => count(item.message_count) },
  { name: "From", cell: (item) => [foreign(item.header_from), item.envelope_from && item.envelope_from !== item.header_from && h("small", null, "envelope: ", foreign(item.envelope_from))] },
  { name: "DKIM", cell: (item) => [alignedBadge(item.dkim_aligned), item.dkim.map((result) => check(result, result.selector && ["selector ", foreign(result.selector)]))] },
  { name: "SPF", cell: (item) => [alignedBadge(item.spf_aligned), item.spf.map((result) => check(result, result.scope && foreign(result.scope)))] },
  { name: "Disposition", cell: (item) => [dispositionBadge(item.disposition), item.reasons.map((reason) => h("small", null, foreign(reason.type, "other reason"), reason.comment && [": ", foreign(reason.comment)])), item.odd_values.map((odd) => h("small", null, "odd: ", foreign(odd.element), " is ", foreign(odd.text)))] },
];

function check(result, more) {
  return h("small", null, foreign(result.result, "no result"), result.domain && [" for ", foreign(result.domain)], more && [", ", more], result.human_result && [" (", foreign(result.human_result), ")"]);
}
