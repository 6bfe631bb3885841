// What the report's charts need of Vega and Vega-Lite. Expressions are interpreted (no eval), so that the page's
// Content-Security-Policy can forbid it.
import { logger, parse, View } from "vega";
import { expressionInterpreter } from "vega-interpreter";
import { compile } from "vega-lite";

window.permgradVega = { compile, expressionInterpreter, logger, parse, View };
