// Renders the components on a server. Cases come as JSON on stdin: {framework, props}.
import { createElement } from 'react';
import { renderToString as reactToString } from 'react-dom/server';
import { createSSRApp, h } from 'vue';
import { renderToString as vueToString } from 'vue/server-renderer';
import * as React from '../../widget/integrations/react/visitstats.mjs';
import * as Vue from '../../widget/integrations/vue/visitstats.mjs';

let text = '';
for await (const part of process.stdin) text += part;
const made = [];
for (const { framework, component, props } of JSON.parse(text)) {
  try {
    if (framework === 'react') made.push({ html: reactToString(createElement(React[component], props)) });
    else {
      const context = {};
      const html = await vueToString(createSSRApp({ render: () => h(Vue[component], props) }), context);
      made.push({ html, head: (context.teleports || {}).head || '' });
    }
  } catch (error) {
    made.push({ error: String(error) });
  }
}
process.stdout.write(JSON.stringify(made));
