// Reports in, by hand.

import { heading } from "../parts.js";
import { h } from "../dom.js";
import { OUTCOMES, badge } from "../words.js";
import { drop } from "./drop.js";

export async function upload() {
  return {
    title: "Upload",
    content: [
      heading("Upload reports", { lead: "For reports that you have as files. What comes by mail is taken in without you." }),
      h("div", { class: "card" }, drop()),
      h("details", { class: "explain" },
        h("summary", null, "What may become of a file?"),
        h("dl", null, Object.values(OUTCOMES).map(([word, kind, meaning]) => [h("dt", null, badge(word, kind)), h("dd", null, meaning)]))),
    ],
  };
}
